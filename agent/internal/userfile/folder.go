package userfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// A folder is the open folder that holds the target. All work on the file goes through its handle, whatever becomes of the
// names that led to it.
type folder struct {
	*os.File // O_RDONLY|O_DIRECTORY; its Name is for messages only
	t        Target
	base     string   // the target's name in the folder
	home     *os.Root // closed with the folder; nil when there is none or it is somebody else's to close
}

// Close closes the folder and its home.
func (d *folder) Close() {
	_ = d.File.Close()
	if d.home != nil {
		_ = d.home.Close()
	}
}

// again opens what the folder's name leads to now. The home stays the one that was opened first, and this folder's to close.
func (d *folder) again(w *Writer) (*folder, error) {
	if rel, ok := d.t.belowHome(); ok {
		return w.openBelow(d.t, d.home, filepath.Dir(rel), false)
	}
	return openOutside(d.t)
}

// path returns the target's path, for messages.
func (d *folder) path() string { return d.t.Path }

func (d *folder) fd() int { return int(d.Fd()) }

// handleOf lends the descriptor of a file that package os opened; the file must stay open.
func handleOf(f *os.File) handle { return handle{fd: int(f.Fd()), name: f.Name()} }

// openFolder opens the target's folder and checks its owner. With create set, a missing folder directly below an existing one
// in the home is made. An fs.ErrNotExist stays visible through the Error.
func (w *Writer) openFolder(t Target, create bool) (*folder, error) {
	if err := t.validate(); err != nil {
		return nil, err
	}
	rel, ok := t.belowHome()
	if !ok {
		return openOutside(t)
	}
	home, err := openHome(t)
	if err != nil {
		return nil, err
	}
	d, err := w.openBelow(t, home, filepath.Dir(rel), create)
	if err != nil {
		_ = home.Close()
		return nil, err
	}
	d.home = home
	return d, nil
}

// openOutside opens a folder that is not in the user's home, such as /etc/ssh/authorized_keys.d. The rule is that of sshd's
// StrictModes: nobody but root and the user may have a say in any folder from "/" on.
func openOutside(t Target) (*folder, error) {
	dir := filepath.Dir(t.Path)
	w := walk{noLastLink: true, judge: func(st *unix.Stat_t, path string) error {
		if !t.owns(st) {
			return refuse(Owner, path)
		}
		if st.Mode&0o022 != 0 {
			return refuse(UnsafeFolder, path)
		}
		return nil
	}}
	at, _, err := w.open(dir)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, &Error{Code: NoFolder, Path: dir, Err: err}
	}
	if err != nil {
		return nil, err
	}
	defer at.close()
	h, err := openat(at.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, classify(dir, err)
	}
	return &folder{File: os.NewFile(uintptr(h.fd), dir), t: t, base: filepath.Base(t.Path)}, nil
}

// owns reports whether the inode belongs to the user or to root, the two owners that sshd accepts.
func (t Target) owns(st *unix.Stat_t) bool { return st.Uid == 0 || int(st.Uid) == t.UID }

// openHome opens the home twice: element by element, to be sure that nobody else chose where it leads, and as an os.Root, which
// then keeps every look-up inside. Both must have met the same inode.
func openHome(t Target) (*os.Root, error) {
	at, st, err := (&walk{}).open(filepath.Clean(t.Home))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, &Error{Code: NoHome, Path: t.Home, Err: err}
	}
	if err != nil {
		return nil, err
	}
	defer at.close()
	if !t.owns(&st) {
		return nil, refuse(Owner, t.Home)
	}
	home, err := os.OpenRoot(t.Home)
	if err != nil {
		return nil, classify(t.Home, err)
	}
	fi, err := home.Stat(".")
	if err == nil && !sameAs(fi, &st) {
		err = refuse(Busy, t.Home)
	}
	if err != nil {
		home.Close()
		return nil, classify(t.Home, err)
	}
	return home, nil
}

// openBelow opens the folder rel of the home. A link on the way is followed as long as it stays inside the home.
func (w *Writer) openBelow(t Target, home *os.Root, rel string, create bool) (*folder, error) {
	dir := filepath.Join(t.Home, rel)
	f, err := openDir(home, rel)
	if create && errors.Is(err, fs.ErrNotExist) && !isLink(home, rel) {
		f, err = w.makeDir(t, home, rel)
	}
	if err != nil {
		return nil, explainDir(home, rel, dir, err)
	}
	st, err := handleOf(f).stat()
	if err == nil && !t.owns(&st) {
		err = refuse(Owner, dir)
	}
	if err != nil {
		f.Close()
		return nil, classify(dir, err)
	}
	return &folder{File: f, t: t, base: filepath.Base(t.Path)}, nil
}

// sameAs is sameFile for what package os says about a file.
func sameAs(fi fs.FileInfo, st *unix.Stat_t) bool {
	sys, ok := fi.Sys().(*syscall.Stat_t)
	return ok && uint64(sys.Dev) == uint64(st.Dev) && sys.Ino == st.Ino
}

func openDir(home *os.Root, rel string) (*os.File, error) {
	return home.OpenFile(rel, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
}

func isLink(home *os.Root, rel string) bool {
	fi, err := home.Lstat(rel)
	return err == nil && fi.Mode()&fs.ModeSymlink != 0
}

// explainDir finds the code for a folder that cannot be opened. os.Root does not say in a way that a program can read that a link
// leads outside; so a link that cannot be opened for another reason than its missing target is taken to.
func explainDir(home *os.Root, rel, dir string, err error) error {
	var known *Error
	switch {
	case errors.As(err, &known):
		return err
	case isLink(home, rel) && errors.Is(err, fs.ErrNotExist):
		return &Error{Code: Symlink, Path: dir, Err: err}
	case isLink(home, rel):
		return &Error{Code: OutsideHome, Path: dir, Err: err}
	case errors.Is(err, fs.ErrNotExist):
		return &Error{Code: NoFolder, Path: dir, Err: err}
	case errors.Is(err, unix.ENOTDIR):
		return &Error{Code: NotRegular, Path: dir, Err: err}
	}
	return classify(dir, err)
}

// makeDir makes the folder rel with mode 0700 for the user.
func (w *Writer) makeDir(t Target, home *os.Root, rel string) (*os.File, error) {
	made := home.Mkdir(rel, 0o700)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return nil, made
	}
	f, err := openDir(home, rel)
	if err != nil {
		return nil, err
	}
	if made == nil {
		err = w.giveDir(t, f, filepath.Join(t.Home, rel))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, syncParent(home, rel, f)
}

// giveDir gives a folder that we have just made to the user. Between our mkdirat and our openat the user can have put another
// folder under the name; only an empty one of our own is given away, and that is one that the user could have made himself.
func (w *Writer) giveDir(t Target, f *os.File, path string) error {
	st, err := handleOf(f).stat()
	if err != nil || int(st.Uid) != os.Geteuid() {
		return err
	}
	if names, _ := f.Readdirnames(1); len(names) > 0 {
		return nil
	}
	if err := w.policy.label(handleOf(f), path, unix.S_IFDIR); err != nil {
		return err
	}
	if int(st.Uid) != t.UID || int(st.Gid) != t.GID {
		if err := f.Chown(t.UID, t.GID); err != nil {
			return err
		}
	}
	return f.Chmod(0o700)
}

func syncParent(home *os.Root, rel string, f *os.File) error {
	parent, err := openDir(home, filepath.Dir(rel))
	if err == nil {
		err = syncDir(parent)
		parent.Close()
	}
	if err != nil {
		f.Close()
	}
	return err
}

// syncDir makes a rename in the folder durable. Some network and FUSE file systems cannot and say EINVAL: nothing is left to do.
func syncDir(f *os.File) error {
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}
