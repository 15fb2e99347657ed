package demo

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain lets this binary stand in for rotatessh where it is started as the guardian, and for a program
// that holds a folder and children until it is killed.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case GuardianCommand:
			exitWith(Guard(os.Args[2]))
		case holderCommand:
			exitWith(hold(os.Args[2]))
		}
	}
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// everyProgram is what a fleet needs, by package.
var everyProgram = []string{"agent/cmd/rotatessh-agent", "rotator/cmd/rotatessh", "rotator/cmd/bootstrap"}

var built struct {
	once sync.Once
	dir  string
	err  error
}

// programs are the real programs, compiled once for all tests.
func programs(t *testing.T) Binaries {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "rotatessh-bin-"); built.err != nil {
			return
		}
		built.err = build(built.dir, "", everyProgram...)
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	b, err := FindBinaries(built.dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func build(into, tags string, packages ...string) error {
	args := []string{"build", "-ldflags", "-s -w", "-tags", tags, "-o", into + "/"}
	for _, p := range packages {
		args = append(args, "github.com/rotatessh/rotatessh/"+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %v: %w: %s", packages, err, out)
	}
	return nil
}

// newStateDir gives a folder for state that sshd trusts, which a temporary one is not: those lie below a
// world-writable folder.
func newStateDir(t *testing.T) string {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Skipf("not run: no home folder: %v", err)
	}
	dir, err := os.MkdirTemp(home, ".rotatessh-test-")
	if err != nil {
		t.Skipf("not run: the home folder cannot be written to: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := checkParents(dir); err != nil {
		t.Skipf("not run: sshd refuses keys below the home folder: %v", err)
	}
	return dir
}

// fleetOptions are those of a small fleet of the real programs with an sshd of this machine.
func fleetOptions(t *testing.T) Options {
	t.Helper()
	if _, err := findSSHD(t.Context(), ""); err != nil {
		t.Skipf("not run: %v", err)
	}
	o := DefaultOptions()
	o.StateDir = newStateDir(t)
	o.Binaries = programs(t)
	return o
}

// processesOf finds the processes of which the command line, the working folder or the standard error names a
// folder.
func processesOf(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		dir := filepath.Join("/proc", e.Name())
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || e.Name() == fmt.Sprint(os.Getpid()) {
			continue
		}
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		stderr, _ := os.Readlink(filepath.Join(dir, "fd", "2"))
		if bytes.Contains(cmdline, []byte(folder)) || strings.HasPrefix(cwd, folder) || strings.HasPrefix(stderr, folder) {
			found = append(found, fmt.Sprintf("%s %q in %s", e.Name(), cmdline, cwd))
		}
	}
	return found
}

// awaitGone waits until no process and no file of a folder is left.
func awaitGone(t *testing.T, folder string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		left := processesOf(t, folder)
		_, err := os.Lstat(folder)
		if len(left) == 0 && os.IsNotExist(err) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there: %v, processes %q", folder, err, left)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
