package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const holderCommand = "hold-a-folder"

// hold makes a folder with a guardian and children, one of which has a child of its own and ignores all
// signals that can be ignored, says so, and sleeps.
func hold(stateDir string) error {
	f, err := holding(stateDir)
	if err != nil {
		return err
	}
	fmt.Println(f.folder.path)
	time.Sleep(time.Hour)
	return nil
}

// holding is a fleet that has nothing but two children that sleep.
func holding(stateDir string) (*Fleet, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &Fleet{options: Options{StateDir: stateDir, Binaries: Binaries{Rotatessh: self}}}
	f.fail = func(error) {}
	if err := f.startFolder(context.Background()); err != nil {
		return nil, err
	}
	up := []string{filepath.Join(f.folder.path, "first"), filepath.Join(f.folder.path, "second")}
	for _, script := range []string{
		"exec sleep 1000",
		// As sshd does for a log-in: a session of its own, and its log.
		"mkdir worker; exec setsid -w sh -c 'trap \"\" HUP TERM; : >" + up[0] + "; cd /; while :; do sleep 1000; done' 2>worker/" + sshdLog,
		"trap '' INT TERM HUP; sleep 1000 & : >" + up[1] + "; while :; do wait; done",
	} {
		if _, err := f.launch(program{name: "child", argv: []string{"/bin/sh", "-c", script}, dir: f.folder.path,
			log: filepath.Join(f.folder.path, "child.log")}); err != nil {
			return nil, err
		}
	}
	for !isFile(up[0]) || !isFile(up[1]) {
		time.Sleep(time.Millisecond)
	}
	return f, nil
}

func startHolder(t *testing.T, stateDir string) (*exec.Cmd, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, holderCommand, stateDir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, strings.TrimSpace(line)
}

func TestNothingIsLeftOfAHolderThatDies(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd, folder := startHolder(t, newStateDir(t))
			if n := len(processesOf(t, folder)); n < 5 {
				t.Fatalf("%d processes are at work in the folder, want the guardian and four more", n)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			awaitGone(t, folder)
		})
	}
}

func TestGuardianWithstandsTheSignalsOfATerminal(t *testing.T) {
	cmd, folder := startHolder(t, newStateDir(t))
	for _, pid := range children(t, cmd.Process.Pid, GuardianCommand) {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			if err := syscall.Kill(pid, sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, folder)
}

// children finds the children of a process whose command line holds a word.
func children(t *testing.T, parent int, word string) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		var pid, ppid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			continue
		}
		stat, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		_, rest, _ := strings.Cut(string(stat), ") ")
		if _, err := fmt.Sscanf(rest, "%1s %d", new(string), &ppid); err != nil || ppid != parent {
			continue
		}
		if cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")); strings.Contains(string(cmdline), word) {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		t.Fatalf("process %d has no child with %q", parent, word)
	}
	return pids
}

func TestCloseLeavesNothing(t *testing.T) {
	f, err := holding(newStateDir(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	awaitGone(t, f.folder.path)
	if err := f.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestGuardianRemovesNothingThatNoDemoMade(t *testing.T) {
	base := t.TempDir()
	for _, name := range []string{"other/demo-1", "rotatessh/other", "rotatessh/demo-1"} {
		path := filepath.Join(base, name)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := Guard(path); err == nil {
			t.Errorf("guarding %s without a lock in it was not refused", name)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestGuardianCalledByHandRemovesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rotatessh", "demo-1")
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, lockName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(self, GuardianCommand, path).CombinedOutput(); err == nil {
		t.Errorf("a guardian without a demo did its work: %s", out)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestFollowKeepsAccountOfGroups(t *testing.T) {
	r, w := io.Pipe()
	go func() {
		for _, line := range []string{"+100", "+200", "", "-100", "+1", "+-1", "+nonsense", "+300"} {
			fmt.Fprintln(w, line)
		}
		w.CloseWithError(errors.New("gone"))
	}()
	got := follow(r)
	if len(got) != 2 || !got[200] || !got[300] {
		t.Errorf("groups are %v, want 200 and 300", got)
	}
}
