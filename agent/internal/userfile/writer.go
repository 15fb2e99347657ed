package userfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// maxTries bounds how often a rewrite starts again because somebody else changed the file. The pauses between add up to about
// half a second.
const maxTries = 10

// A Change computes the new content from the old one, which is nil when there is no file. It must not keep or alter old. It is called
// again when the file changed in between, so only its last call counts. Returning equal bytes means that nothing is to be
// written, and returning an error that nothing may be.
type Change func(old []byte) (updated []byte, err error)

// An Outcome says what became of a rewrite.
type Outcome struct {
	Written bool   // the file was replaced; true together with an error when only what follows the rename failed
	Bytes   []byte // what the name leads to afterwards, read back; the caller's to keep
	Tries   int    // how often Change was called
}

// A Writer rewrites files. The zero value is ready to use, by several goroutines at once.
type Writer struct {
	policy policy

	testOnlyBeforeCompare, testOnlyBeforeRename, testOnlyAfterRename, testOnlyAfterLook func()
}

// Read returns the target's content, or nil when there is no file or no folder for it. It refuses what Rewrite refuses.
func (w *Writer) Read(ctx context.Context, t Target) ([]byte, error) {
	d, err := w.openFolder(t, false)
	return readFolder(ctx, d, err)
}

// readFolder reads the target in a folder that was just opened, or not, and closes it.
func readFolder(ctx context.Context, d *folder, err error) ([]byte, error) {
	if errors.Is(err, fs.ErrNotExist) && hasCode(err, NoFolder) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	s, err := d.takeSoon(ctx)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return s.data, nil
}

// Rewrite replaces the target's content by what change makes of it, as the package comment describes. The file keeps owner, mode, ACL and
// extended attributes; a new one gets mode 0600 and the user's ids, and so does, with 0700, a missing folder below the home. Equal
// content is not written. A failure is an *Error, or change's own error, or the context's; the context is looked at between
// steps, it does not interrupt a system call that hangs.
func (w *Writer) Rewrite(ctx context.Context, t Target, change Change) (Outcome, error) {
	var out Outcome
	d, err := w.openFolder(t, false)
	if hasCode(err, NoFolder) {
		d, err = w.openFirst(t, change, &out)
	}
	if err != nil || d == nil {
		return out, err
	}
	defer d.Close()
	d.sweep()
	for ; out.Tries < maxTries; pause(ctx, out.Tries) {
		if err := ctx.Err(); err != nil {
			return out, fmt.Errorf("rewriting %q: %w", t.Path, err)
		}
		done, err := w.try(ctx, d, change, &out)
		if err != nil || done {
			return out, err
		}
	}
	return out, refuse(Busy, t.Path)
}

// openFirst makes the folder, but only for content to be put into it. A nil folder means that there is none.
func (w *Writer) openFirst(t Target, change Change, out *Outcome) (*folder, error) {
	out.Tries++
	updated, err := change(nil)
	if err != nil {
		return nil, fmt.Errorf("computing the new content of %q: %w", t.Path, err)
	}
	if len(updated) == 0 {
		return nil, nil
	}
	return w.openFolder(t, true)
}

// try is one attempt; done is false when the file changed under it.
func (w *Writer) try(ctx context.Context, d *folder, change Change, out *Outcome) (done bool, err error) {
	out.Tries++
	old, err := d.take()
	if errors.Is(err, errMoved) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer old.close()
	updated, err := change(old.data)
	if err != nil {
		return false, fmt.Errorf("computing the new content of %q: %w", d.path(), err)
	}
	if bytes.Equal(old.data, updated) {
		out.Bytes = old.data
		return true, nil
	}
	tail, err := w.replace(ctx, d, old, updated, &out.Written)
	if errors.Is(err, errMoved) {
		return false, nil
	}
	if err == nil {
		err = w.putBack(ctx, d, tail, &out.Written)
	}
	if err != nil {
		return false, err
	}
	// By name: should the folder itself have been moved away, what was written into it is not what sshd reads.
	now, err := d.again(w)
	out.Bytes, err = readFolder(ctx, now, err)
	return true, err
}

// takeSoon is take for callers that need an answer rather than to start again.
func (d *folder) takeSoon(ctx context.Context) (*snapshot, error) {
	for try := 1; try <= maxTries; try++ {
		s, err := d.take()
		if !errors.Is(err, errMoved) {
			return s, err
		}
		pause(ctx, try)
	}
	return nil, refuse(Busy, d.path())
}

// replace puts data in the place of old and returns what was appended to old until after the rename. It answers errMoved, and leaves
// everything as it is, when the target is no longer old.
func (w *Writer) replace(ctx context.Context, d *folder, old *snapshot, data []byte, written *bool) ([]byte, error) {
	if len(data) > MaxSize {
		return nil, refuse(TooBig, d.path())
	}
	if frozen(d.fd()) {
		return nil, refuse(Immutable, d.Name())
	}
	if old.exists() && frozen(old.f.fd) {
		return nil, refuse(Immutable, d.path())
	}
	tmp, err := d.newTemp()
	if err != nil {
		return nil, classify(d.path(), err)
	}
	if err := w.fillAndRename(ctx, tmp, old, data); err != nil {
		_ = unlinkat(d.fd(), tmp.name) // the failure that matters is err; what stays behind is swept by the next rewrite
		return nil, classify(d.path(), err)
	}
	*written = true
	w.knob(w.testOnlyAfterRename)
	tail, err := w.farewell(ctx, d, old)
	return tail, classify(d.path(), err)
}

// farewell makes the rename durable and looks at the old inode for the last time. Without a name it can get no new writers: when it has none
// at all, the look is final, and the inode is let go first, so that the file system frees it together with the rename.
func (w *Writer) farewell(ctx context.Context, d *folder, old *snapshot) ([]byte, error) {
	if !old.exists() {
		return nil, syncDir(d.File)
	}
	if old.lease() == nil {
		tail, err := old.appended()
		w.knob(w.testOnlyAfterLook)
		old.close()
		return tail, errors.Join(err, syncDir(d.File))
	}
	if err := syncDir(d.File); err != nil {
		return nil, err
	}
	old.linger(ctx)
	tail, err := old.appended()
	w.knob(w.testOnlyAfterLook)
	return tail, err
}

func (w *Writer) fillAndRename(ctx context.Context, tmp *temp, old *snapshot, data []byte) error {
	if err := tmp.fill(w, old, data); err != nil {
		return err
	}
	w.knob(w.testOnlyBeforeCompare)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("rewriting %q: %w", tmp.d.path(), err)
	}
	same, err := tmp.d.unchanged(old)
	if err != nil {
		return err
	}
	if !same {
		return errMoved
	}
	w.knob(w.testOnlyBeforeRename)
	return tmp.rename(old)
}

// rename gives the temp the target's name. Where there was no file it fails rather than replace one that has appeared, on file
// systems that can do so.
func (t *temp) rename(old *snapshot) error {
	fd := t.d.fd()
	if !old.exists() {
		err := again(func() error { return unix.Renameat2(fd, t.name, fd, t.d.base, unix.RENAME_NOREPLACE) })
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
			return renamed(err)
		}
	}
	return renamed(again(func() error { return unix.Renameat(fd, t.name, fd, t.d.base) }))
}

// renamed sorts the rename's failures: a name that has appeared or a temp that is gone means that somebody else was here.
func renamed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENOTEMPTY):
		return errMoved
	}
	return fmt.Errorf("renaming the new file over the old one: %w", err)
}

func (w *Writer) knob(f func()) {
	if f != nil {
		f()
	}
}

func hasCode(err error, c Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == c
}

// pause waits a little longer after each try, with jitter so that two writers do not stay in step.
func pause(ctx context.Context, try int) {
	longest := min(time.Millisecond<<try, 100*time.Millisecond)
	select {
	case <-ctx.Done():
	case <-time.After(longest/2 + rand.N(longest/2)):
	}
}
