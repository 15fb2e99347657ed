package sshclient

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/pkg/sftp"
)

// Progress is told how a file's upload advances: bytes moved so far, of total. Each byte is moved twice, there
// and, for comparison, back. It is called from one goroutine at a time, very often, and must return quickly.
type Progress func(file string, moved, total int64)

// Uploaded is one file that has arrived.
type Uploaded struct {
	Source string // local path
	Remote string // path on the server
	Bytes  int64
	SHA256 string // hex, of what was read here and of what was read back from the server
}

// Upload copies srcs to the server by SFTP and gives the files that have arrived, also beside an error.
//
// Remote follows scp: empty, or a relative path, starts at the user's home, as does "~/"; an existing folder
// takes the sources under their own names; otherwise remote is the new name of the one source. Files get
// the permission bits of the source, or keep those of the file that they replace.
//
// A file is written under a temporary name beside its destination, flushed to disk, read back, compared by
// size and SHA-256, and then renamed: a reader of the destination sees all of the old file or all of the new
// one, whatever happens. When ctx ends the temporary file is removed, for which the server has a few seconds;
// if it does not use them the connection is closed. Progress may be nil.
func (c *Client) Upload(ctx context.Context, srcs Sources, remote string, progress Progress) ([]Uploaded, error) {
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	server, err := c.openSFTP(ctx)
	if err != nil {
		return nil, err
	}
	u := &upload{sftp: server, progress: progress, watch: newWatch(c.limits.stall, c.fail)}
	defer u.watch.stop()
	lenient, cancel := extend(ctx, c.limits.grace)
	defer cancel()
	err = c.within(lenient, PhaseCommand, func() error {
		defer server.Close()
		return u.all(ctx, srcs, remote)
	})
	return u.done, err
}

func (c *Client) openSFTP(ctx context.Context) (*sftp.Client, error) {
	ctx, cancel := c.channelLimit(ctx)
	defer cancel()
	var server *sftp.Client
	err := c.within(ctx, PhaseSession, func() (err error) {
		if server, err = sftp.NewClient(c.ssh, sftp.UseConcurrentWrites(true)); err != nil {
			return fmt.Errorf("starting SFTP: %w", err)
		}
		return nil
	})
	return server, err
}

// extend gives a context that ends a while after ctx does, with the same cause.
func extend(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, end := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(grace, func() { end(context.Cause(ctx)) })
	})
	return longer, func() { stop(); end(context.Canceled) }
}

// upload is one call of Upload.
type upload struct {
	sftp     *sftp.Client
	progress Progress
	watch    *watch
	done     []Uploaded
}

func (u *upload) all(ctx context.Context, srcs Sources, remote string) error {
	targets, err := u.destinations(srcs, remote)
	if err != nil {
		return err
	}
	for i, root := range srcs.roots {
		for _, e := range root.entries {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			u.watch.progress()
			if err := u.entry(ctx, e, path.Join(targets[i], e.rel)); err != nil {
				return fmt.Errorf("copying %q: %w", e.local, err)
			}
		}
	}
	return nil
}

func (u *upload) entry(ctx context.Context, e entry, target string) error {
	if e.isDir {
		return u.folder(target, e.mode)
	}
	done, err := u.file(ctx, e, target)
	if err == nil {
		u.done = append(u.done, done)
	}
	return err
}

// folder makes a folder unless it is there. One that is made can be entered and written to by its owner
// even if the source cannot: files are to go in.
func (u *upload) folder(target string, mode fs.FileMode) error {
	if info, err := u.sftp.Stat(target); err == nil && info.IsDir() {
		return nil
	}
	if err := u.sftp.Mkdir(target); err != nil {
		return fmt.Errorf("making folder %q: %w", target, err)
	}
	if err := u.sftp.Chmod(target, mode|0o700); err != nil {
		return fmt.Errorf("setting the mode of %q: %w", target, err)
	}
	return nil
}

// destinations gives the remote path of every root.
func (u *upload) destinations(srcs Sources, remote string) ([]string, error) {
	base, folder, err := expand(remote)
	if err != nil {
		return nil, err
	}
	info, err := u.sftp.Stat(base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking at %q: %w", base, err)
	}
	exists := err == nil
	if exists && info.IsDir() {
		var targets []string
		for _, root := range srcs.roots {
			targets = append(targets, path.Join(base, root.base))
		}
		return targets, nil
	}
	one := len(srcs.roots) == 1
	switch {
	case exists && (folder || !one || srcs.roots[0].isDir):
		return nil, fmt.Errorf("%q on the server is not a folder", base)
	case !one, folder && !srcs.roots[0].isDir:
		return nil, fmt.Errorf("there is no folder %q on the server", base)
	}
	return []string{base}, nil
}
