package demo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guardian is this process's end of the pipe to the guardian process.
//
// The guardian holds the reading end and waits for it to close, which the kernel does when this process
// dies of anything. Then it kills the process groups that it was told of and removes the fleet's folder.
type guardian struct {
	mu   sync.Mutex
	pipe *os.File
	cmd  *exec.Cmd
}

// GuardianCommand is the subcommand of rotatessh that must call Guard.
const GuardianCommand = "guardian"

// The guardian's inherited files.
const (
	guardianPipe = 3 // the reading end
	guardianLock = 4 // keeps the folder's lock held until the guardian is done, too
)

func startGuardian(rotatessh string, f *folder) (*guardian, error) {
	r, w, err := os.Pipe() // close-on-exec: no child holds the writing end open
	if err != nil {
		return nil, fmt.Errorf("starting the guardian: %w", err)
	}
	defer r.Close()
	cmd := exec.Command(rotatessh, GuardianCommand, f.path)
	cmd.ExtraFiles = []*os.File{r, f.lock}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of the terminal's and the shell's reach
	g := &guardian{pipe: w, cmd: cmd}
	if err := g.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the guardian: %w", err), w.Close())
	}
	return g, nil
}

// ready is what the guardian writes to its standard output once nothing but SIGKILL can end it.
const ready = "ready\n"

func (g *guardian) start() error {
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := g.cmd.Start(); err != nil {
		return err
	}
	got := make([]byte, len(ready))
	if _, err := io.ReadFull(out, got); err != nil || string(got) != ready {
		_ = g.cmd.Process.Kill()
		return fmt.Errorf("%q does not behave like one: %w", g.cmd.Path, errors.Join(err, g.cmd.Wait()))
	}
	return nil
}

// watch has the guardian end a process group if this process cannot do so any more.
func (g *guardian) watch(pid int) { g.tell("+", pid) }

// forget undoes watch.
func (g *guardian) forget(pid int) { g.tell("-", pid) }

func (g *guardian) tell(sign string, pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, _ = fmt.Fprintf(g.pipe, "%s%d\n", sign, pid) // without a guardian the kernel still kills the children
}

// dismiss has the guardian do its work, and waits for it.
func (g *guardian) dismiss() error {
	g.mu.Lock()
	err := g.pipe.Close()
	g.mu.Unlock()
	return errors.Join(err, g.cmd.Wait())
}

// Guard is the guardian's whole life. It refuses a folder that newFolder cannot have made, so that the
// hidden command removes nothing else when somebody calls it by hand.
func Guard(path string) error {
	if !madeHere(path) {
		return fmt.Errorf("folder %q is not one of a demo", path)
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	pipe := os.NewFile(guardianPipe, "pipe")
	if info, err := pipe.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return errors.New("the guardian is started by rotatessh demo only")
	}
	if _, err := io.WriteString(os.Stdout, ready); err != nil {
		return err
	}
	endAll(path, follow(pipe), 5*time.Second)
	return removeAll(path)
}

func madeHere(path string) bool {
	i := strings.LastIndexByte(path, '/')
	if i < 0 || !strings.HasPrefix(path[i+1:], folderPrefix) || !strings.HasSuffix(path[:i], "/rotatessh") {
		return false
	}
	_, err := os.Lstat(path + "/" + lockName)
	return err == nil
}

// follow reads until the other end is closed and gives the process groups that are left.
func follow(pipe io.Reader) map[int]bool {
	groups := make(map[int]bool)
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			continue
		}
		pid, err := strconv.Atoi(line[1:])
		if err != nil || pid <= 1 {
			continue
		}
		if line[0] == '+' {
			groups[pid] = true
		} else {
			delete(groups, pid)
		}
	}
	return groups
}

// endAll kills the groups and every log-in to a worker, and waits until they are gone.
func endAll(path string, groups map[int]bool, limit time.Duration) {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for pid := range groups {
			if unix.Kill(-pid, unix.SIGKILL) != nil || zombie(pid) {
				delete(groups, pid)
			}
		}
		logins := sessions(path)
		for _, pid := range logins {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if len(groups) == 0 && len(logins) == 0 {
			return
		}
	}
}

// sshdLog is the standard error of an sshd, and of the processes that it starts for each log-in.
const sshdLog = "sshd.log"

// sessions are the processes of log-ins to the workers in a fleet's folder. Those leave sshd's process group. The
// ones that are sshd's own are told by where they log to, and what runs in a log-in by its home.
func sessions(path string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && (logsTo(pid, path) || livesIn(pid, path)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func logsTo(pid int, path string) bool {
	stderr, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/2", pid))
	return err == nil && strings.HasPrefix(stderr, path+"/") && filepath.Base(stderr) == sshdLog
}

func livesIn(pid int, path string) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && bytes.Contains(append([]byte{0}, environ...), []byte("\x00HOME="+path+"/"))
}

// zombie reports whether the process is dead and waits for a parent that may never reap it, such as a
// container's first process that is no init.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, found := strings.Cut(string(stat), ") ")
	return found && strings.HasPrefix(rest, "Z")
}

// removeAll repeats what a dying process may thwart by one last write.
func removeAll(path string) error {
	var err error
	for range 10 {
		if err = os.RemoveAll(path); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}
