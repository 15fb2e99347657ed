package userfile

import (
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// asUser calls f with the effective ids of another user, in a thread that is thrown away afterwards. Only system calls that f makes in this
// goroutine are affected, and os.Geteuid is one.
func asUser(t *testing.T, uid int, f func() error) error {
	t.Helper()
	needRoot(t)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		for _, call := range []struct{ trap, a, b, c uintptr }{
			{unix.SYS_SETGROUPS, 0, 0, 0},
			{unix.SYS_SETRESGID, uintptr(uid), uintptr(uid), uintptr(uid)},
			{unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
		} {
			if _, _, errno := syscall.RawSyscall(call.trap, call.a, call.b, call.c); errno != 0 {
				done <- errno
				return
			}
		}
		done <- f()
	}()
	return <-done
}
