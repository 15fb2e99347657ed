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
func (w *walk) open(path string) (handle, unix.Stat_t, error) {
	at, err := w.start()
	for rest := elements(path); err == nil && len(rest) > 0; {
		rest, err = w.step(&at, rest)
	}
	var st unix.Stat_t
	if err == nil {
		st, err = at.dir.stat()
	}
	if err != nil {
		at.leave()
		return handle{}, st, classify(path, err)
	}
	return at.dir, st, nil
}

// A place is where a walk stands.
type place struct {
	dir  handle // fd is -1 when there is none
	path string
}

func (p *place) leave() {
	if p.dir.fd >= 0 {
		_ = p.dir.close()
	}
}

// start stands at "/".
func (w *walk) start() (at place, err error) {
	at = place{dir: handle{fd: -1}, path: "/"}
	root, err := openat(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return at, err
	}
	at.dir = root
	return at, w.visit(&at)
}

func elements(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

func (w *walk) visit(at *place) error {
	if w.judge == nil {
		return nil
	}
	st, err := at.dir.stat()
	if err != nil {
		return err
	}
	return w.judge(&st, at.path)
}

// step moves to the first of the elements and returns those that are left, a link's target put in front of them.
func (w *walk) step(at *place, rest []string) ([]string, error) {
	name, rest := rest[0], rest[1:]
	path := strings.TrimSuffix(at.path, "/") + "/" + name
	next, err := openat(at.dir.fd, name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return w.follow(at, name, path, rest)
	}
	if err != nil {
		return nil, classify(path, err)
	}
	at.leave()
	*at = place{dir: next, path: path}
	return rest, w.visit(at)
}

// follow goes where the link leads, if what is in the way is one that may be followed.
func (w *walk) follow(at *place, name, path string, rest []string) ([]string, error) {
	link, err := openat(at.dir.fd, name, unix.O_PATH, 0)
	if err != nil {
		return nil, classify(path, err)
	}
	defer link.close()
	link.name = path
	st, err := link.stat()
	if err != nil {
		return nil, err
	}
	if !isType(&st, unix.S_IFLNK) {
		return nil, link.fail("openat", unix.ENOTDIR)
	}
	folder, err := at.dir.stat()
	if err != nil {
		return nil, err
	}
	w.links++
	if w.noLastLink && len(rest) == 0 || !trustedLink(&folder, &st) || w.links > maxLinks {
		return nil, refuse(Symlink, path)
	}
	target, err := readlink(link)
	if err == nil && strings.HasPrefix(target, "/") {
		at.leave()
		*at, err = w.start()
	}
	return append(elements(target), rest...), err
}

// trustedLink reports whether only root or the caller's own user can have made the link: it is theirs, and so is its folder,
// which others either cannot write or, being sticky, cannot take the link out of.
func trustedLink(folder, link *unix.Stat_t) bool {
	return ownOrRoot(link.Uid) && ownOrRoot(folder.Uid) &&
		(folder.Mode&0o022 == 0 || folder.Mode&unix.S_ISVTX != 0)
}

func ownOrRoot(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// readlink reads the link behind an O_PATH handle.
func readlink(link handle) (string, error) {
	buf := make([]byte, unix.PathMax)
	var n int
	err := again(func() (err error) {
		n, err = unix.Readlinkat(link.fd, "", buf)
		return err
	})
	if err == nil && n == len(buf) {
		err = unix.ENAMETOOLONG
	}
	return string(buf[:max(n, 0)]), link.fail("readlinkat", err)
}
