package userfile

import (
	"errors"
	"io"
	"os"
	"slices"

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

// A handle is an open file or folder. Package os would register each with the runtime's poller, which regular files have no use for.
type handle struct {
	fd   int
	name string // for messages
}

func openat(dir int, name string, flags int, mode uint32) (h handle, err error) {
	h.name = name
	err = again(func() error {
		h.fd, err = unix.Openat(dir, name, flags|openFlags, mode)
		return err
	})
	return h, h.fail("openat", err)
}

// fail says what was being done when err is not nil.
func (h handle) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: h.name, Err: err}
}

// close is not repeated when it is interrupted: Linux has closed the descriptor by then.
func (h handle) close() error {
	if err := unix.Close(h.fd); err != nil && !errors.Is(err, unix.EINTR) {
		return h.fail("close", err)
	}
	return nil
}

func (h handle) stat() (st unix.Stat_t, err error) {
	err = again(func() error { return unix.Fstat(h.fd, &st) })
	return st, h.fail("fstat", err)
}

func (h handle) sync() error { return h.fail("fsync", again(func() error { return unix.Fsync(h.fd) })) }

func (h handle) chown(uid, gid int) error {
	return h.fail("fchown", again(func() error { return unix.Fchown(h.fd, uid, gid) }))
}

func (h handle) chmod(mode uint32) error {
	return h.fail("fchmod", again(func() error { return unix.Fchmod(h.fd, mode) }))
}

// write writes all of data.
func (h handle) write(data []byte) error {
	for len(data) > 0 {
		var n int
		err := again(func() (err error) { n, err = unix.Write(h.fd, data); return err })
		if err == nil && n <= 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return h.fail("write", err)
		}
		data = data[n:]
	}
	return nil
}

// readFrom reads from an offset to the end of a regular file, but at most limit bytes; size is a guess of how many there are.
func (h handle) readFrom(offset, size, limit int64) ([]byte, error) {
	data := make([]byte, 0, min(size, limit)+512)
	for int64(len(data)) < limit {
		data = slices.Grow(data, 512)
		space := data[len(data):min(int64(cap(data)), limit)]
		var n int
		err := again(func() (err error) { n, err = unix.Pread(h.fd, space, offset+int64(len(data))); return err })
		if err != nil {
			return nil, h.fail("read", err)
		}
		data = data[:len(data)+n]
		if n < len(space) {
			break // a short read of a regular file is its end
		}
	}
	return data, nil
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
