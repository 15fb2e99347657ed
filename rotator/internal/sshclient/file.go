package sshclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// expand gives the SFTP path of a destination as a user writes it, and whether it must be a folder. A
// relative path starts where the server starts: at the user's home.
func expand(remote string) (base string, folder bool, err error) {
	base = remote
	if rest, home := strings.CutPrefix(remote, "~"); home {
		if rest != "" && rest[0] != '/' {
			return "", false, fmt.Errorf("%q: only the own home can be written as ~", remote)
		}
		base = strings.TrimLeft(rest, "/")
	}
	return path.Clean(base), strings.HasSuffix(base, "/"), nil
}

// file puts one file in place. The sequence: temporary file (O_EXCL, mode 0600 before the first byte) →
// write → fsync → close → read back → chmod → rename. The temporary file is removed on any error.
func (u *upload) file(ctx context.Context, e entry, target string) (_ Uploaded, err error) {
	local, err := os.Open(e.local)
	if err != nil {
		return Uploaded{}, err
	}
	defer local.Close()
	target, mode, err := u.place(target, e.mode)
	if err != nil {
		return Uploaded{}, err
	}
	temp := path.Join(path.Dir(target), ".rotatessh-"+strings.ToLower(rand.Text()[:16])+".part")
	defer func() {
		if err != nil {
			err = u.abandon(temp, err)
		}
	}()
	size, sum, err := u.send(ctx, local, temp, e.local)
	if err != nil {
		return Uploaded{}, err
	}
	if err := u.verify(ctx, temp, e.local, size, sum); err != nil {
		return Uploaded{}, err
	}
	if err := u.sftp.Chmod(temp, mode); err != nil {
		return Uploaded{}, fmt.Errorf("setting the mode of %q: %w", temp, err)
	}
	if err := u.rename(temp, target); err != nil {
		return Uploaded{}, fmt.Errorf("renaming %q to %q: %w", temp, target, err)
	}
	return Uploaded{Source: e.local, Remote: target, Bytes: size, SHA256: hex.EncodeToString(sum)}, nil
}

// place gives the path to rename to and the mode of the new file. A link is followed, as scp would.
func (u *upload) place(target string, mode fs.FileMode) (string, fs.FileMode, error) {
	info, err := u.sftp.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return target, mode, nil
	}
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if target, err = u.sftp.RealPath(target); err == nil {
			info, err = u.sftp.Stat(target)
		}
	}
	if err != nil {
		return "", 0, fmt.Errorf("looking at %q: %w", target, err)
	}
	if !info.Mode().IsRegular() {
		return "", 0, fmt.Errorf("%q on the server is not a regular file", target)
	}
	return target, info.Mode().Perm(), nil
}

// send writes local to temp and gives the size and the SHA-256 of what it has sent.
func (u *upload) send(ctx context.Context, local *os.File, temp, name string) (int64, []byte, error) {
	info, err := local.Stat()
	if err != nil {
		return 0, nil, err
	}
	remote, err := u.sftp.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return 0, nil, fmt.Errorf("creating %q: %w", temp, err)
	}
	defer remote.Close()
	if err := remote.Chmod(0o600); err != nil {
		return 0, nil, fmt.Errorf("setting the mode of %q: %w", temp, err)
	}
	in := &feed{ctx: ctx, watch: u.watch, from: local, sum: sha256.New(), tell: func(sent int64) { u.progress(name, sent, 2*info.Size()) }}
	in.tell(0)
	size, err := remote.ReadFromWithConcurrency(in, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("writing %q: %w", temp, err)
	}
	if _, able := u.sftp.HasExtension("fsync@openssh.com"); able {
		if err := remote.Sync(); err != nil {
			return 0, nil, fmt.Errorf("flushing %q to disk: %w", temp, err)
		}
	}
	if err := remote.Close(); err != nil {
		return 0, nil, fmt.Errorf("closing %q: %w", temp, err)
	}
	return size, in.sum.Sum(nil), nil
}

// verify reads temp back: neither a full disk nor another writer goes unnoticed.
func (u *upload) verify(ctx context.Context, temp, name string, size int64, sum []byte) error {
	info, err := u.sftp.Stat(temp)
	if err != nil {
		return fmt.Errorf("reading %q back: %w", temp, err)
	}
	if info.Size() != size {
		return fmt.Errorf("%q has %d bytes on the server, %d were sent", temp, info.Size(), size)
	}
	remote, err := u.sftp.Open(temp)
	if err != nil {
		return fmt.Errorf("reading %q back: %w", temp, err)
	}
	defer remote.Close()
	back := &sink{ctx: ctx, watch: u.watch, sum: sha256.New(), tell: func(back int64) { u.progress(name, size+back, 2*size) }}
	if _, err := remote.WriteTo(back); err != nil {
		return fmt.Errorf("reading %q back: %w", temp, err)
	}
	if !bytes.Equal(back.sum.Sum(nil), sum) {
		return fmt.Errorf("%q does not hold on the server what was sent", temp)
	}
	return nil
}

// rename replaces target. SFTP's own rename refuses an existing target; OpenSSH's extension does not.
func (u *upload) rename(temp, target string) error {
	if _, able := u.sftp.HasExtension("posix-rename@openssh.com"); able {
		return u.sftp.PosixRename(temp, target)
	}
	return u.sftp.Rename(temp, target)
}

// abandon removes temp after a failure, and says so if it cannot.
func (u *upload) abandon(temp string, why error) error {
	if err := u.sftp.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w (%q may be left on the server: %w)", why, temp, err)
	}
	return why
}
