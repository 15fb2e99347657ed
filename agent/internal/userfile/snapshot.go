package userfile

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// A snapshot is the target as it was read once, with the handle kept open: what was appended to the inode after the rename can
// still be found through it. The zero snapshot says that there was no file.
type snapshot struct {
	f    *handle
	st   unix.Stat_t
	data []byte
}

func (s *snapshot) exists() bool { return s.f != nil }

// close may be called twice.
func (s *snapshot) close() {
	if s.f != nil {
		_ = s.f.close()
		s.f = nil
	}
}

// errMoved says that the file changed between two looks at it.
var errMoved = errors.New("the file changed between two looks at it")

// take reads the target. A missing file is the zero snapshot, anything but a regular file with one name that belongs to the user
// or root is refused without being opened.
func (d *folder) take() (*snapshot, error) {
	st, err := lstatat(d.fd(), d.base)
	if errors.Is(err, fs.ErrNotExist) {
		return &snapshot{}, nil
	}
	if err == nil {
		err = d.judge(&st)
	}
	if err != nil {
		return nil, classify(d.path(), err)
	}
	h, err := openat(d.fd(), d.base, unix.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errMoved
	}
	if err != nil {
		return nil, classify(d.path(), err)
	}
	s := &snapshot{f: &h}
	if err := d.fill(s, &st); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// fill reads what was opened, once it is sure that it is the file that was judged.
func (d *folder) fill(s *snapshot, judged *unix.Stat_t) (err error) {
	if s.st, err = s.f.stat(); err != nil {
		return classify(d.path(), err)
	}
	if !sameFile(&s.st, judged) || s.st.Nlink == 0 {
		return errMoved
	}
	if err := d.judge(&s.st); err != nil {
		return err
	}
	if s.data, err = s.f.readFrom(0, s.st.Size, MaxSize+1); err != nil {
		return classify(d.path(), err)
	}
	if len(s.data) > MaxSize {
		return refuse(TooBig, d.path())
	}
	return nil
}

func (d *folder) judge(st *unix.Stat_t) error {
	switch {
	case isType(st, unix.S_IFLNK):
		return refuse(Symlink, d.path())
	case !isType(st, unix.S_IFREG):
		return refuse(NotRegular, d.path())
	case st.Nlink > 1:
		return refuse(HardLink, d.path())
	case !d.t.owns(st):
		return refuse(Owner, d.path())
	case st.Size > MaxSize:
		return refuse(TooBig, d.path())
	}
	return nil
}

// unchanged reports whether the name still leads to the inode that was read, with the same content and attributes.
func (d *folder) unchanged(old *snapshot) (bool, error) {
	st, err := lstatat(d.fd(), d.base)
	if errors.Is(err, fs.ErrNotExist) {
		return !old.exists(), nil
	}
	if err != nil || !old.exists() || !sameAttributes(&st, &old.st) {
		return false, classify(d.path(), err)
	}
	now, err := old.f.readFrom(0, st.Size, MaxSize+1)
	return err == nil && bytes.Equal(old.data, now), classify(d.path(), err)
}

// sameAttributes includes the change time: it moves with every change of owner, mode, ACL and label.
func sameAttributes(a, b *unix.Stat_t) bool {
	return sameFile(a, b) && a.Mode == b.Mode && a.Uid == b.Uid && a.Gid == b.Gid && a.Size == b.Size &&
		a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// lingerTries and lingerPause bound the wait for programs that have the old file open for writing, to a quarter of a second.
const (
	lingerTries = 25
	lingerPause = 10 * time.Millisecond
)

// linger waits a little for programs that still have the inode open for writing.
func (s *snapshot) linger(ctx context.Context) {
	for try := 0; try < lingerTries && ctx.Err() == nil && errors.Is(s.lease(), unix.EAGAIN); try++ {
		time.Sleep(lingerPause)
	}
}

// appended returns what was added to the end of the inode since it was read. Anything else that happened to it is not seen.
func (s *snapshot) appended() ([]byte, error) {
	if !s.exists() {
		return nil, nil
	}
	st, err := s.f.stat()
	have := int64(len(s.data))
	if err != nil || st.Size <= have || st.Size > MaxSize {
		return nil, err
	}
	return s.f.readFrom(have, st.Size-have, MaxSize)
}

// lease asks for a read lease, which the kernel grants only while no process has the inode open for writing, and otherwise refuses with
// EAGAIN. Network file systems have no leases, and root needs CAP_LEASE for another user's file. The lease ends with the handle.
func (s *snapshot) lease() error {
	return again(func() error {
		_, err := unix.FcntlInt(uintptr(s.f.fd), unix.F_SETLEASE, unix.F_RDLCK)
		return err
	})
}
