package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const lockFile = "lock"

// ErrLocked says that another agent works with the folder.
var ErrLocked = errors.New("another rotatessh-agent is running")

// Lock takes the folder for this process, making it when missing. The lock ends with release or with the process. It does not
// wait: ErrLocked.
func Lock(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // holds no secret, and status is for everybody
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	// Nobody else may open it: whoever can read a file can lock it against its owner.
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the state folder: %w", err)
	}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if err == nil {
		return func() { f.Close() }, nil
	}
	f.Close()
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		err = ErrLocked
	}
	return nil, fmt.Errorf("locking %q: %w", f.Name(), err)
}

// Locked reports whether an agent works with the folder now. It takes no lock. Only the agent's own user and root can tell.
func Locked(dir string) (bool, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for a running agent: %w", err)
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return false, fmt.Errorf("looking for a running agent: %w", err)
	}
	return lock.Type != unix.F_UNLCK, nil
}
