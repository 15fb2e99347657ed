package demo

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// spawner starts child processes that the kernel kills when this process dies, however it dies.
//
// PR_SET_PDEATHSIG follows the thread that started the child, not the process. All children are therefore
// started by one thread, which lives until close.
type spawner struct {
	requests chan func()
	once     sync.Once
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for f := range s.requests {
			f()
		}
	}()
	return s
}

// start starts cmd as the leader of its own process group, which keeps the terminal's Ctrl-C from it.
func (s *spawner) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	s.requests <- func() { started <- cmd.Start() }
	return <-started
}

// close ends the thread, and with it every child that is still there.
func (s *spawner) close() { s.once.Do(func() { close(s.requests) }) }
