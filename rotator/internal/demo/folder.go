package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	folderPrefix = "demo-"
	lockName     = "lock"
)

// folder is where one fleet keeps its files. Its lock is held by the process that made it and by the
// guardian; a folder whose lock is free is left over from a machine that went down.
type folder struct {
	path string
	lock *os.File
}

// FolderError says that a folder above the fleet's cannot be trusted: sshd would refuse every key below it.
type FolderError struct {
	Path   string
	Reason string
}

func (e *FolderError) Error() string { return fmt.Sprintf("folder %q %s", e.Path, e.Reason) }

// newFolder makes an empty 0700 folder below base ("" is the user's state directory) and removes left-over
// ones beside it.
func newFolder(base string) (*folder, error) {
	base, err := stateDir(base)
	if err != nil {
		return nil, err
	}
	if err := checkParents(existing(base)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	// Again, for what a link led to.
	base, err = filepath.EvalSymlinks(base)
	if err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	if err := checkParents(base); err != nil {
		return nil, err
	}
	// Sweeping and making happen under one lock, so that nobody sweeps a folder that has no lock file yet.
	gate, err := lockFile(filepath.Join(base, ".demo.lock"), unix.LOCK_EX)
	if err != nil {
		return nil, fmt.Errorf("locking the state folder: %w", err)
	}
	defer gate.Close()
	sweep(base)
	return makeFolder(base)
}

func makeFolder(base string) (*folder, error) {
	path, err := os.MkdirTemp(base, folderPrefix) // 0700
	if err != nil {
		return nil, fmt.Errorf("making the fleet's folder: %w", err)
	}
	lock, err := lockFile(filepath.Join(path, lockName), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the fleet's folder: %w", err), os.RemoveAll(path))
	}
	return &folder{path: path, lock: lock}, nil
}

func stateDir(base string) (string, error) {
	if base == "" {
		base = os.Getenv("XDG_STATE_HOME")
	}
	// The XDG specification asks to ignore a relative path.
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding the state folder: %w", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "rotatessh"), nil
}

// existing is path, or the nearest folder above it that is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == "/" {
			return path
		}
		path = filepath.Dir(path)
	}
}

// checkParents applies the rule that sshd's StrictModes applies to everything above an authorized_keys file.
func checkParents(path string) error {
	for {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("checking the state folder: %w", err)
		}
		switch stat, ok := info.Sys().(*syscall.Stat_t); {
		case info.Mode()&0o002 != 0:
			return &FolderError{Path: path, Reason: "is world-writable"}
		case info.Mode()&0o020 != 0:
			return &FolderError{Path: path, Reason: "is writable by its group"}
		case ok && stat.Uid != 0 && int(stat.Uid) != os.Getuid():
			return &FolderError{Path: path, Reason: "belongs to another user"}
		}
		if path == "/" {
			return nil
		}
		path = filepath.Dir(path)
	}
}

// lockFile opens and locks a file; closing it gives the lock back.
func lockFile(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "flock", Path: path, Err: err}, f.Close())
	}
	return f, nil
}

// sweep removes the folders whose makers are gone. Nothing depends on its success.
func sweep(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), folderPrefix) {
			continue
		}
		path := filepath.Join(base, e.Name())
		lock, err := lockFile(filepath.Join(path, lockName), unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			continue // in use
		}
		_ = os.RemoveAll(path)
		_ = lock.Close()
	}
}
