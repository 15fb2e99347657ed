package userfile

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks bounds the links followed on the way to one folder.
const maxLinks = 16

// A walk opens a folder one element at a time, so that each folder on the way is judged on its handle before the next
// element is looked up in it. A link is followed only when nobody but root (or the caller's own user) can have put it
// there: whoever can place a link elsewhere could otherwise choose where root writes.
type walk struct {
	judge      func(st *unix.Stat_t, path string) error // called for each folder, "/" included
	noLastLink bool                                     // the last element must not be a link
	links      int
}

// open returns a handle (O_PATH) of the folder at the absolute path, and what fstat says about it.
func (w *walk) open(path string) (*os.File, unix.Stat_t, error) {
	fd, err := openat(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, unix.Stat_t{}, classify("/", err)
	}
	at := place{dir: os.NewFile(uintptr(fd), "/"), path: "/"}
	if at.st, err = fstat(fd, "/"); err == nil {
		err = w.visit(&at)
	}
	for rest := elements(path); err == nil && len(rest) > 0; {
		rest, err = w.step(&at, rest)
	}
	if err != nil {
		at.dir.Close()
		return nil, at.st, classify(path, err)
	}
	return at.dir, at.st, nil
}

// A place is where a walk stands.
type place struct {
	dir  *os.File
	st   unix.Stat_t
	path string
}

func elements(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

func (w *walk) visit(at *place) error {
	if w.judge == nil {
		return nil
	}
	return w.judge(&at.st, at.path)
}

// step moves to the first of the elements and returns those that are left, a link's target put in front of them.
func (w *walk) step(at *place, rest []string) ([]string, error) {
	name, rest := rest[0], rest[1:]
	next := strings.TrimSuffix(at.path, "/") + "/" + name
	fd, err := openat(int(at.dir.Fd()), name, unix.O_PATH, 0)
	if err != nil {
		return nil, classify(next, err)
	}
	f := os.NewFile(uintptr(fd), next)
	st, err := fstat(fd, next)
	switch {
	case err != nil:
	case isType(&st, unix.S_IFLNK):
		defer f.Close()
		return w.follow(at, f, &st, rest)
	case !isType(&st, unix.S_IFDIR):
		err = &os.PathError{Op: "openat", Path: next, Err: unix.ENOTDIR}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	at.dir.Close()
	*at = place{dir: f, st: st, path: next}
	return rest, w.visit(at)
}

func (w *walk) follow(at *place, link *os.File, st *unix.Stat_t, rest []string) ([]string, error) {
	w.links++
	if w.noLastLink && len(rest) == 0 || !trustedLink(&at.st, st) || w.links > maxLinks {
		return nil, refuse(Symlink, link.Name())
	}
	target, err := readlink(link)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(target, "/") {
		fd, err := openat(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return nil, err
		}
		at.dir.Close()
		at.dir, at.path = os.NewFile(uintptr(fd), "/"), "/"
		if at.st, err = fstat(fd, "/"); err != nil {
			return nil, err
		}
	}
	return append(elements(target), rest...), nil
}

// trustedLink reports whether only root or the caller's own user can have made the link: it is theirs, and so is its folder,
// which others either cannot write or, being sticky, cannot take the link out of.
func trustedLink(folder, link *unix.Stat_t) bool {
	return ownOrRoot(link.Uid) && ownOrRoot(folder.Uid) &&
		(folder.Mode&0o022 == 0 || folder.Mode&unix.S_ISVTX != 0)
}

func ownOrRoot(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// readlink reads the link behind an O_PATH handle.
func readlink(link *os.File) (string, error) {
	buf := make([]byte, unix.PathMax)
	var n int
	err := again(func() (err error) {
		n, err = unix.Readlinkat(int(link.Fd()), "", buf)
		return err
	})
	if err == nil && n == len(buf) {
		err = errors.New("link target too long")
	}
	if err != nil {
		return "", &os.PathError{Op: "readlinkat", Path: link.Name(), Err: err}
	}
	return string(buf[:n]), nil
}
