package lambda

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// spawner starts processes from one OS thread that lives as long as the spawner: Linux sends a child its
// parent-death signal when the thread that created it ends, and Go ends idle threads at will.
type spawner struct {
	requests chan spawnRequest
	done     chan struct{}
	once     sync.Once
}

type spawnRequest struct {
	cmd   *exec.Cmd
	reply chan error
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan spawnRequest), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *spawner) run() {
	// Never unlocked: when this goroutine returns the thread ends, and with it any child left over.
	runtime.LockOSThread()
	for {
		select {
		case r := <-s.requests:
			r.reply <- r.cmd.Start()
		case <-s.done:
			return
		}
	}
}

// start starts cmd in a process group of its own that the kernel kills together with this process.
func (s *spawner) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = processAttributes()
	r := spawnRequest{cmd: cmd, reply: make(chan error, 1)}
	select {
	case s.requests <- r:
		return <-r.reply
	case <-s.done:
		return errClosed
	}
}

func (s *spawner) close() { s.once.Do(func() { close(s.done) }) }

// killGroup kills the process group that pid leads.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
