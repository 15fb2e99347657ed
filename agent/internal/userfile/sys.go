package userfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// openFlags are part of every open: never follow a link in the last element, never wait for a FIFO's other end, never
// take a terminal, never leak into a child.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC

// again calls f until it is no longer interrupted by a signal. Go's runtime uses signals to preempt goroutines, and network
// file systems let them through.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func openat(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = again(func() error {
		fd, err = unix.Openat(dir, name, flags|openFlags, mode)
		return err
	})
	if err != nil {
		return -1, &os.PathError{Op: "openat", Path: name, Err: err}
	}
	return fd, nil
}

func fstat(fd int, name string) (st unix.Stat_t, err error) {
	err = again(func() error { return unix.Fstat(fd, &st) })
	if err != nil {
		return st, &os.PathError{Op: "fstat", Path: name, Err: err}
	}
	return st, nil
}

func lstatat(dir int, name string) (st unix.Stat_t, err error) {
	err = again(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return st, &os.PathError{Op: "fstatat", Path: name, Err: err}
	}
	return st, nil
}

func unlinkat(dir int, name string) error {
	err := again(func() error { return unix.Unlinkat(dir, name, 0) })
	if err != nil {
		return &os.PathError{Op: "unlinkat", Path: name, Err: err}
	}
	return nil
}

func isType(st *unix.Stat_t, kind uint32) bool { return st.Mode&unix.S_IFMT == kind }

// sameFile reports whether both describe one inode.
func sameFile(a, b *unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

// frozen reports whether the inode has a flag that would make a rename or an unlink fail although everything before works.
// Where the kernel or the file system cannot tell, the answer is no.
func frozen(fd int) bool {
	var stx unix.Statx_t
	err := again(func() error { return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &stx) })
	return err == nil && stx.Attributes&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0
}
