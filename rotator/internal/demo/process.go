package demo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// program is how one child process is started.
type program struct {
	name string   // for people: "worker-1 sshd"
	argv []string // argv[0] is an absolute path
	dir  string
	env  []string
	log  string // file that its standard error and output are appended to
}

// process is a child in a process group of its own.
type process struct {
	program
	cmd  *exec.Cmd
	done chan struct{} // closed once it has been reaped
}

// launch starts a program and has the guardian know of it.
func (f *Fleet) launch(p program) (*process, error) {
	out, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", p.name, err)
	}
	defer out.Close()
	cmd := &exec.Cmd{Path: p.argv[0], Args: p.argv, Dir: p.dir, Env: p.env, Stdout: out, Stderr: out}
	if err := f.spawn.start(cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	proc := &process{program: p, cmd: cmd, done: make(chan struct{})}
	f.guardian.watch(proc.pid())
	go func() {
		defer close(proc.done)
		_ = cmd.Wait() // how it ended is in ProcessState
		// What it started dies with it.
		_ = unix.Kill(-proc.pid(), unix.SIGKILL)
		f.guardian.forget(proc.pid())
	}()
	return proc, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process without notice and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop asks the process to end, and after grace ends it.
func (p *process) stop(grace time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(grace):
		p.kill()
	}
}

// exitError describes the end of a process that should still be running.
func (p *process) exitError() error {
	return &LoggedError{Err: fmt.Errorf("%s ended: %s", p.name, p.cmd.ProcessState), Logs: []Tail{tail(p.log)}}
}

// tailLines is how much of a log explains a failure.
const tailLines = 15

// Tail is the end of a log.
type Tail struct {
	Name  string // the file's last two path elements
	Lines []string
}

func tail(path string) Tail {
	t := Tail{Name: filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))}
	data, err := os.ReadFile(path)
	if err != nil {
		return t
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	t.Lines = lines[max(0, len(lines)-tailLines):]
	return t
}

// LoggedError is an error that the ends of some logs explain.
type LoggedError struct {
	Err  error
	Logs []Tail
}

func (e *LoggedError) Error() string { return e.Err.Error() }

// Unwrap gives the error itself.
func (e *LoggedError) Unwrap() error { return e.Err }
