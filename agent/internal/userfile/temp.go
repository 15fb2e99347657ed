package userfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// TempPrefix begins the name of every temporary file, so that watchers can ignore them and a later run can sweep up what a killed
// one left.
const TempPrefix = ".rotatessh-tmp-"

// maxSwept bounds the names looked at in one sweep: the folder's owner decides how many there are.
const maxSwept = 4096

// A temp is a new file that nobody knows the name of yet. While it is open it is locked, which tells it from one left behind.
type temp struct {
	handle
	d *folder
}

// newTemp makes a temp with mode 0600, owned by the caller.
func (d *folder) newTemp() (*temp, error) {
	name := TempPrefix + strings.ToLower(rand.Text())
	h, err := openat(d.fd(), name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	// Without a lock (some network file systems have none) a concurrent sweep may take the temp for a left-over; the rename
	// then fails and the rewrite starts again.
	_ = again(func() error { return unix.Flock(h.fd, unix.LOCK_EX|unix.LOCK_NB) })
	return &temp{handle: h, d: d}, nil
}

// fill writes the content, carries over what the old file had besides content, and makes all of it durable. It closes the temp.
func (t *temp) fill(w *Writer, old *snapshot, data []byte) error {
	err := t.fillOpen(w, old, data)
	if closeErr := t.close(); err == nil {
		err = closeErr
	}
	return err
}

func (t *temp) fillOpen(w *Writer, old *snapshot, data []byte) error {
	if err := t.write(data); err != nil {
		return err
	}
	if err := t.dress(w, old); err != nil {
		return err
	}
	if err := t.sync(); err != nil {
		return err
	}
	st, err := t.stat()
	if err == nil && st.Size != int64(len(data)) {
		err = fmt.Errorf("writing %d bytes made a file of %d", len(data), st.Size)
	}
	return err
}

// dress gives the temp the old file's owner, mode, ACL and extended attributes, or those of a new file.
func (t *temp) dress(w *Writer, old *snapshot) error {
	st, err := t.stat()
	if err != nil {
		return err
	}
	if !old.exists() {
		if err := w.policy.label(t.handle, t.d.path(), unix.S_IFREG); err != nil {
			return err
		}
		return t.own(&st, t.d.t.UID, t.d.t.GID, 0o600)
	}
	// The mode goes first: setting an ACL also sets the mode's group bits, and changing the mode would change the ACL's mask.
	if err := t.own(&st, int(old.st.Uid), int(old.st.Gid), old.st.Mode&0o777); err != nil {
		return err
	}
	return copyAttributes(t.handle, *old.f)
}

// own changes owner and mode where they differ: a user's own agent may not call chown, and need not.
func (t *temp) own(st *unix.Stat_t, uid, gid int, mode uint32) error {
	if int(st.Uid) != uid || int(st.Gid) != gid {
		err := t.chown(uid, gid)
		if errors.Is(err, fs.ErrPermission) {
			return &Error{Code: Owner, Path: t.d.path(), Err: err}
		}
		if err != nil {
			return err
		}
	}
	if st.Mode&0o777 == mode {
		return nil
	}
	return t.chmod(mode)
}

// sweep removes temps that no living process holds, and nothing else. It never fails: what stays is tried again next time.
func (d *folder) sweep() {
	if _, err := d.Seek(0, 0); err != nil {
		return
	}
	names, _ := d.Readdirnames(maxSwept)
	for _, name := range names {
		if strings.HasPrefix(name, TempPrefix) && d.abandoned(name) {
			_ = unlinkat(d.fd(), name)
		}
	}
}

// abandoned reports whether the name is a regular file that nobody has locked.
func (d *folder) abandoned(name string) bool {
	st, err := lstatat(d.fd(), name)
	if err != nil || !isType(&st, unix.S_IFREG) {
		return err == nil && isType(&st, unix.S_IFLNK) // a link was never ours, and removing it touches nothing else
	}
	h, err := openat(d.fd(), name, unix.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer h.close()
	return again(func() error { return unix.Flock(h.fd, unix.LOCK_SH|unix.LOCK_NB) }) == nil
}
