// Package sshdtest runs the installed OpenSSH server for tests, as a machine of its own: as root, the whole
// test program moves into a private mount namespace with its own /etc, /home and /run, so that tests can have
// users, PAM settings and authorized_keys files without touching the real ones. Elsewhere the current user is
// the only one there is, and tests that need more say that they were not run.
package sshdtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The users of the private machine, each with a home folder in /home.
const (
	Alice   = "alice"
	Bob     = "bob"
	Locked  = "locked"  // password field "!"
	Expired = "expired" // account expired in 1970
	Stale   = "stale"   // password to be changed
	NoShell = "noshell" // log-in shell nologin
)

const inside = "ROTATESSH_TEST_MACHINE"

// Main is for TestMain. It runs the tests, on a private machine if that can be had, and does not return.
func Main(m *testing.M) { os.Exit(OnMachine(m.Run)) }

// OnMachine runs f on a private machine if that can be had, in a process of its own, and otherwise here. It gives f's result, which
// is the exit status. A program calls it first of all: the other process starts from its beginning.
func OnMachine(f func() int) int {
	if os.Getenv(inside) != "" {
		if err := furnish(); err != nil {
			fmt.Fprintln(os.Stderr, "sshdtest: furnishing the private machine:", err)
			return 1
		}
		return f()
	}
	if os.Geteuid() == 0 {
		if code, err := reenter(); err == nil {
			return code
		}
	}
	return f()
}

// Private reports whether this is a private machine.
func Private() bool { return os.Getenv(inside) != "" }

// NeedPrivate skips the test where there is no private machine.
func NeedPrivate(t testing.TB) {
	t.Helper()
	if !Private() {
		t.Skip("not run: needs root and a mount namespace")
	}
}

// User is a user of this machine that sshd can serve.
func User(t testing.TB) string {
	t.Helper()
	if Private() {
		return Alice
	}
	current, err := user.Current()
	if err != nil {
		t.Skipf("not run: the current user is unknown: %v", err)
	}
	return current.Username
}

// reenter runs this program again in a mount namespace of its own. It dies with this process.
func reenter() (code int, err error) {
	runtime.LockOSThread() // Pdeathsig is about the thread that started the child
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	signal.Ignore(os.Interrupt) // the child has it too, and decides
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	for _, folder := range []string{"/run", "/home"} {
		if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mounting %s: %w", folder, err)
		}
	}
	for _, folder := range []string{"/run/sshd", "/run/etc", "/run/etc-work"} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("overlay", "/etc", "overlay", 0, "lowerdir=/etc,upperdir=/run/etc,workdir=/run/etc-work"); err != nil {
		return fmt.Errorf("mounting /etc: %w", err)
	}
	return addUsers()
}

func addUsers() error {
	for i, u := range []struct{ name, shell, shadow string }{
		{Alice, "/bin/sh", "*:19000:0:99999:7::"},
		{Bob, "/bin/sh", "*:19000:0:99999:7::"},
		{Locked, "/bin/sh", "!:19000:0:99999:7::"},
		{Expired, "/bin/sh", "*:19000:0:99999:7::1"},
		{Stale, "/bin/sh", "*:19000:0:30:7::"},
		{NoShell, "/usr/sbin/nologin", "*:19000:0:99999:7::"},
	} {
		id := 20001 + i
		err := errors.Join(
			appendTo("/etc/passwd", fmt.Sprintf("%s:x:%d:%d::/home/%s:%s\n", u.name, id, id, u.name, u.shell)),
			appendTo("/etc/group", fmt.Sprintf("%s:x:%d:\n", u.name, id)),
			appendTo("/etc/shadow", fmt.Sprintf("%s:%s:\n", u.name, u.shadow)),
			os.MkdirAll("/home/"+u.name+"/.ssh", 0o700),
			os.Chown("/home/"+u.name, id, id),
			os.Chown("/home/"+u.name+"/.ssh", id, id),
		)
		if err != nil {
			return err
		}
	}
	return nil
}

func appendTo(name, text string) error {
	file, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}
