package userfile

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// putBack adds lines to the file that were appended to an inode which had just lost its name. It does so by a rewrite, and each may find
// further lines; when that does not come to an end, or others leave no time for one, it appends, as the lines' own writers
// did. It is not given up when the context ends: the lines are in no file any more.
func (w *Writer) putBack(ctx context.Context, d *folder, tail []byte, written *bool) error {
	ctx = context.WithoutCancel(ctx)
	var err error
	for try := 1; len(tail) > 0 && try <= maxTries; try++ {
		var more []byte
		if more, err = w.rewriteWith(ctx, d, tail, written); err == nil {
			tail = more
			continue
		}
		if !errors.Is(err, errMoved) {
			break
		}
		pause(ctx, try)
	}
	if len(tail) == 0 || d.appendTo(tail) == nil {
		return nil
	}
	if err == nil || errors.Is(err, errMoved) {
		err = refuse(Busy, d.path())
	}
	return classify(d.path(), err)
}

// rewriteWith rewrites the file with the lines added.
func (w *Writer) rewriteWith(ctx context.Context, d *folder, tail []byte, written *bool) (more []byte, err error) {
	now, err := d.take()
	if err != nil {
		return nil, err
	}
	defer now.close()
	return w.replace(ctx, d, now, joinLines(now.data, tail), written)
}

// appendTo adds lines to the file in place. Only the user's own file is changed so: what belongs to root the user may have moved here
// from elsewhere in the home.
func (d *folder) appendTo(tail []byte) error {
	h, err := openat(d.fd(), d.base, unix.O_RDWR|unix.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer h.close()
	st, err := h.stat()
	if err == nil {
		err = d.judge(&st)
	}
	if err == nil && (int(st.Uid) != d.t.UID || st.Nlink != 1) {
		err = refuse(Owner, d.path())
	}
	if err != nil {
		return err
	}
	end, err := h.readFrom(max(st.Size-1, 0), 1, 1)
	if err != nil {
		return err
	}
	if len(end) > 0 && end[0] != '\n' {
		tail = slices.Concat([]byte("\n"), tail)
	}
	return errors.Join(h.write(tail), h.sync())
}

// joinLines appends whole lines to content.
func joinLines(content, tail []byte) []byte {
	joined := bytes.Clone(content)
	if len(joined) > 0 && joined[len(joined)-1] != '\n' {
		joined = append(joined, '\n')
	}
	return append(joined, tail...)
}
