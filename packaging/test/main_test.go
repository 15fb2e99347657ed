//go:build installtest

package installtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// inside marks the process that has a network namespace of its own, which ends with it.
const inside = "ROTATESSH_INSTALLTEST_INSIDE"

// selinuxToo asks for the slow test in a virtual machine, and for that one alone.
const selinuxToo = "ROTATESSH_INSTALLTEST_SELINUX"

func TestMain(m *testing.M) {
	if os.Geteuid() == 0 && os.Getenv(inside) == "" {
		if err := prepare(); err != nil {
			fmt.Fprintln(os.Stderr, "preparing:", err)
			os.Exit(1)
		}
		os.Exit(enter())
	}
	status := m.Run()
	report.print(os.Stdout)
	os.Exit(status)
}

// prepare makes what takes the network.
func prepare() error {
	if err := makeNext(); err != nil {
		return err
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return nil // the tests say so
	}
	if os.Getenv(selinuxToo) != "" {
		return virtual.make()
	}
	return container.make()
}

// enter runs these tests again in a network namespace, where the addresses of AWS and of the machines are nobody else's, and a mount
// namespace, so that no mount outlives them.
func enter() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "entering a namespace:", err)
		return 1
	}
	return 0
}
