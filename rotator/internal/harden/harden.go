// Package harden keeps the memory of a process that holds a private key away from files and from other
// processes. It protects against accidents (a core dump on a crash, a debugger attached by the same user),
// not against root.
package harden

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Process forbids core dumps, by limit and by the dumpable flag, for the calling process. A non-dumpable
// process can also not be traced, and its /proc files not be read, by others of the same user. Call it
// before the first secret is read. Children that execute another program inherit the limit but not the
// flag. An error means that the process is not protected and should not go on.
func Process() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("setting the core file limit to 0: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("making the process non-dumpable: %w", err)
	}
	return nil
}
