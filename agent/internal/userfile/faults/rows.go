package faults

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Row is one kind of trouble.
type Row struct {
	Name    string
	Arrange func(*Site) error // nil when the trouble is in a system call
	Inject  *Injection
	Codes   []string // the failure codes that the program may report; Applied among them when it has to succeed
	Short   bool     // part of the short run
}

// Applied stands for success where a code is expected.
const Applied = "applied"

// ErrNotRun is wrapped by the reason why a row cannot be run on this machine.
var ErrNotRun = errors.New("not run")

func needRoot() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: needs root", ErrNotRun)
	}
	return nil
}

// Rows returns every kind of trouble. The codes are those of package userfile.
func Rows() []Row {
	return slices.Concat(contents(), links(), others(), owners(), space(), calls())
}

// contents are files that are unusual but fine.
func contents() []Row {
	with := func(content string) func(*Site) error {
		return func(s *Site) error { return s.Write([]byte(content)) }
	}
	row := func(name string, arrange func(*Site) error) Row {
		return Row{Name: name, Arrange: arrange, Codes: []string{Applied}, Short: true}
	}
	return []Row{
		row("nothing wrong", nil),
		row("no file", (*Site).Clear),
		row("no folder", func(s *Site) error { s.Old = nil; return os.RemoveAll(s.Folder) }),
		row("empty file", with("")),
		row("no newline at the end", with(strings.TrimSuffix(foreign, "\n"))),
		row("NUL and CR", with("a\x00b\r\n\r\n\x00\n"+foreign)),
		row("line of a mebibyte", with("# "+strings.Repeat("x", 1<<20)+"\n"+foreign)),
		row("10,000 lines", with(strings.Repeat(foreign, 3334))),
		row("temporary file of a dead process", func(s *Site) error {
			name := filepath.Join(s.Folder, TempPrefix+"dead")
			return errors.Join(os.WriteFile(name, bytes.Repeat([]byte("x"), 1<<16), 0o600), s.Give(name))
		}),
		{Name: "read-only to its owner", Codes: []string{Applied}, Arrange: func(s *Site) error { return os.Chmod(s.File, 0o400) }},
	}
}

// links are names that lead elsewhere.
func links() []Row {
	link := func(to func(*Site) string) func(*Site) error {
		return func(s *Site) error {
			return errors.Join(s.Clear(), os.Symlink(to(s), s.File), s.Give(s.File))
		}
	}
	folder := func(to func(*Site) string) func(*Site) error {
		return func(s *Site) error {
			s.Old = nil
			return errors.Join(os.Rename(s.Folder, filepath.Join(s.Home, "real")), os.Symlink(to(s), s.Folder), s.Give(s.Folder))
		}
	}
	return []Row{
		{Name: "file is a link out of the home", Codes: []string{"symlink"}, Short: true, Arrange: link(func(s *Site) string { return filepath.Join(s.Outside, "public") })},
		{Name: "file is a link to a secret", Codes: []string{"symlink"}, Arrange: link(func(s *Site) string { return filepath.Join(s.Outside, "secret") })},
		{Name: "file is a link to what is not there", Codes: []string{"symlink"}, Short: true, Arrange: link(func(s *Site) string { return filepath.Join(s.Outside, "new") })},
		{Name: "file is a link inside the home", Codes: []string{"symlink"}, Arrange: link(func(s *Site) string { return "../.profile" })},
		{Name: "folder is a link out of the home", Codes: []string{"outside-home"}, Short: true, Arrange: folder(func(s *Site) string { return s.Outside })},
		{Name: "folder is a relative link out of the home", Codes: []string{"outside-home"}, Arrange: folder(func(*Site) string { return "../outside" })},
		{Name: "folder is a link to itself", Codes: []string{"outside-home"}, Arrange: folder(func(*Site) string { return ".ssh" })},
		{Name: "folder is a link to what is not there", Codes: []string{"symlink"}, Arrange: folder(func(*Site) string { return "nowhere" })},
		{Name: "folder is a link inside the home", Codes: []string{Applied}, Short: true, Arrange: func(s *Site) error {
			return errors.Join(os.Rename(s.Folder, filepath.Join(s.Home, "real")), os.Symlink("real", s.Folder), s.Give(s.Folder))
		}},
		{Name: "links planted under temporary names", Codes: []string{Applied}, Short: true, Arrange: plantTemps},
		{Name: "file has a second name", Codes: []string{"hard-link"}, Short: true, Arrange: func(s *Site) error {
			return os.Link(s.File, filepath.Join(s.Home, "second"))
		}},
	}
}

// plantTemps makes links under names that a program with predictable temporary files would use.
func plantTemps(s *Site) error {
	for _, name := range []string{
		TempPrefix, TempPrefix + "a", TempPrefix + "1", "authorized_keys.tmp", ".authorized_keys.tmp", "authorized_keys~", "authorized_keys.bak",
		".google", "authorized_keys.new", "authorized_keys.lock",
	} {
		path := filepath.Join(s.Folder, name)
		if err := errors.Join(os.Symlink(filepath.Join(s.Outside, "public"), path), s.Give(path)); err != nil {
			return err
		}
	}
	return nil
}

// others are things that are not files.
func others() []Row {
	instead := func(f func(path string) error) func(*Site) error {
		return func(s *Site) error { return errors.Join(s.Clear(), f(s.File), s.Give(s.File)) }
	}
	return []Row{
		{Name: "file is a folder", Codes: []string{"not-regular"}, Short: true, Arrange: instead(func(p string) error { return os.Mkdir(p, 0o700) })},
		{Name: "file is a FIFO", Codes: []string{"not-regular"}, Short: true, Arrange: instead(func(p string) error { return unix.Mkfifo(p, 0o600) })},
		{Name: "file is a socket", Codes: []string{"not-regular"}, Arrange: instead(listenUnix)},
		{Name: "file is a device", Codes: []string{"not-regular"}, Arrange: instead(func(p string) error {
			if err := needRoot(); err != nil {
				return err
			}
			return unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5)))
		})},
		{Name: "folder is a file", Codes: []string{"not-regular"}, Short: true, Arrange: func(s *Site) error {
			s.Old = nil
			return errors.Join(os.RemoveAll(s.Folder), os.WriteFile(s.Folder, nil, 0o600), s.Give(s.Folder))
		}},
		{Name: "folder is a FIFO", Codes: []string{"not-regular"}, Arrange: func(s *Site) error {
			s.Old = nil
			return errors.Join(os.RemoveAll(s.Folder), unix.Mkfifo(s.Folder, 0o600), s.Give(s.Folder))
		}},
		{Name: "home is missing", Codes: []string{"no-home"}, Short: true, Arrange: func(s *Site) error { s.Old = nil; return os.RemoveAll(s.Home) }},
		{Name: "file is immutable", Codes: []string{"immutable"}, Short: true, Arrange: func(s *Site) error { return s.flag(s.File, immutable) }},
		{Name: "file is append-only", Codes: []string{"immutable"}, Arrange: func(s *Site) error { return s.flag(s.File, appendOnly) }},
		{Name: "folder is immutable", Codes: []string{"immutable"}, Arrange: func(s *Site) error { return s.flag(s.Folder, immutable) }},
		{Name: "folder is append-only", Codes: []string{"immutable"}, Arrange: func(s *Site) error { return s.flag(s.Folder, appendOnly) }},
	}
}

// listenUnix makes a socket; its name may be longer than an address can be.
func listenUnix(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	return l.Close()
}

// Inode flags of linux/fs.h.
const (
	immutable  = 0x10
	appendOnly = 0x20
)

// flag sets an inode flag until the site is closed.
func (s *Site) flag(path string, flag int) error {
	if err := needRoot(); err != nil {
		return err
	}
	set := func(on bool) error {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		if err != nil {
			return err
		}
		if flags &^= flag; on {
			flags |= flag
		}
		return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags)
	}
	if err := set(true); err != nil {
		return fmt.Errorf("%w: inode flags: %w", ErrNotRun, err)
	}
	s.After(func() error { return set(false) })
	return nil
}

// owners are files that are not the user's.
func owners() []Row {
	give := func(path func(*Site) string, uid int) func(*Site) error {
		return func(s *Site) error {
			if err := needRoot(); err != nil {
				return err
			}
			return os.Lchown(path(s), uid, uid)
		}
	}
	file, folder, home := func(s *Site) string { return s.File }, func(s *Site) string { return s.Folder }, func(s *Site) string { return s.Home }
	return []Row{
		{Name: "file is another user's", Codes: []string{"owner"}, Short: true, Arrange: give(file, UserID+1)},
		{Name: "folder is another user's", Codes: []string{"owner"}, Short: true, Arrange: give(folder, UserID+1)},
		{Name: "home is another user's", Codes: []string{"owner"}, Arrange: give(home, UserID+1)},
		{Name: "file is root's", Codes: []string{Applied}, Arrange: func(s *Site) error {
			return errors.Join(give(file, 0)(s), os.Chmod(s.File, 0o644)) // sshd reads it as the user
		}},
		{Name: "folder is root's", Codes: []string{Applied}, Arrange: give(folder, 0)},
	}
}

// space are file systems that are full or may not be written.
func space() []Row {
	tmpfs := func(options string) func(*Site) error {
		return func(s *Site) error { return s.mount("tmpfs", "none", options) }
	}
	ext4 := func(options ...string) func(*Site) error {
		return func(s *Site) error { return s.mountExt4(options...) }
	}
	return []Row{
		{Name: "full tmpfs", Codes: []string{"no-space"}, Short: true, Arrange: steps(tmpfs("size=256k"), (*Site).fill)},
		{Name: "tmpfs without inodes", Codes: []string{"no-space"}, Short: true, Arrange: steps(tmpfs("nr_inodes=16"), (*Site).fillInodes)},
		{Name: "read-only tmpfs", Codes: []string{"read-only"}, Short: true, Arrange: steps(tmpfs(""), (*Site).remountReadOnly)},
		{Name: "full ext4", Codes: []string{"no-space"}, Arrange: steps(ext4("-N", "64"), (*Site).fill)},
		{Name: "ext4 without inodes", Codes: []string{"no-space"}, Arrange: steps(ext4("-N", "16"), (*Site).fillInodes)},
		{Name: "read-only ext4", Codes: []string{"read-only"}, Arrange: steps(ext4(), (*Site).remountReadOnly)},
	}
}

// steps makes one arrangement of several. The first that fails ends it: nothing may be filled up that was not mounted.
func steps(list ...func(*Site) error) func(*Site) error {
	return func(s *Site) error {
		for _, step := range list {
			if err := step(s); err != nil {
				return err
			}
		}
		return nil
	}
}

// mount mounts an empty file system over the home and builds the home anew in it.
func (s *Site) mount(kind, source, options string) error {
	if err := needRoot(); err != nil {
		return err
	}
	if err := unix.Mount(source, s.Home, kind, 0, options); err != nil {
		return fmt.Errorf("%w: mounting %s: %w", ErrNotRun, kind, err)
	}
	s.After(func() error { return unix.Unmount(s.Home, unix.MNT_DETACH) })
	if err := os.Mkdir(s.Folder, 0o755); err != nil {
		return err
	}
	return errors.Join(s.Write(s.Old), s.Give(s.Home, s.Folder))
}

func (s *Site) remountReadOnly() error {
	return unix.Mount("none", s.Home, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

// mountExt4 makes an ext4 file system in a file.
func (s *Site) mountExt4(options ...string) error {
	if err := needRoot(); err != nil {
		return err
	}
	image := filepath.Join(s.Dir, "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 4<<20)); err != nil {
		return err
	}
	for _, c := range [][]string{
		append(append([]string{"mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal"}, options...), image),
		{"mount", "-o", "loop", image, s.Home},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s: %w: %s", ErrNotRun, c[0], err, bytes.TrimSpace(out))
		}
	}
	s.After(func() error { return unix.Unmount(s.Home, unix.MNT_DETACH) })
	if err := errors.Join(os.RemoveAll(filepath.Join(s.Home, "lost+found")), os.Mkdir(s.Folder, 0o755)); err != nil {
		return err
	}
	return errors.Join(s.Write(s.Old), s.Give(s.Home, s.Folder))
}

// fill uses up every block.
func (s *Site) fill() error {
	f, err := os.Create(filepath.Join(s.Home, "filler"))
	if err != nil {
		return err
	}
	defer f.Close()
	for chunk := 1 << 16; chunk > 0; {
		if _, err := f.Write(make([]byte, chunk)); errors.Is(err, unix.ENOSPC) {
			chunk /= 2
		} else if err != nil {
			return err
		}
	}
	return nil
}

// fillInodes uses up every inode.
func (s *Site) fillInodes() error {
	for i := 0; ; i++ {
		err := os.WriteFile(filepath.Join(s.Home, fmt.Sprint("filler", i)), nil, 0o600)
		if errors.Is(err, unix.ENOSPC) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// calls are system calls that fail.
func calls() []Row {
	temp, folder := regexpTemp, regexpFolder
	row := func(short bool, call, result, on string, codes ...string) Row {
		return Row{Name: fmt.Sprintf("%s of the %s: %s", call, map[string]string{temp: "temporary file", folder: "folder"}[on], result),
			Inject: &Injection{Call: call, Result: result, On: on, Folder: on == folder || call == "openat" || call == "renameat"}, Codes: codes, Short: short}
	}
	return []Row{
		row(true, "openat", "EIO", temp, "io"), row(false, "openat", "ENOSPC", temp, "no-space"), row(false, "openat", "EINTR", temp, Applied),
		row(false, "write", "EIO", temp, "io"), row(true, "write", "ENOSPC", temp, "no-space"), row(false, "write", "EINTR", temp, Applied),
		row(true, "write", "retval=2", temp, "io"), row(false, "write", "EDQUOT", temp, "no-space"),
		row(true, "fsync", "EIO", temp, "io"), row(false, "fsync", "ENOSPC", temp, "no-space"), row(false, "fsync", "EINTR", temp, Applied),
		row(true, "fsync", "EIO", folder, "io"),
		row(true, "renameat", "EIO", temp, "io"), row(false, "renameat", "ENOSPC", temp, "no-space"), row(false, "renameat", "EINTR", temp, Applied),
		row(false, "renameat", "EROFS", temp, "read-only"), row(false, "close", "EIO", temp, "io"),
		rootOnly(row(true, "fchown", "EIO", temp, "io")), rootOnly(row(false, "fchown", "EPERM", temp, "owner")), rootOnly(row(false, "fchown", "EINTR", temp, Applied)),
		row(false, "fchmod", "EIO", temp, "io"),
	}
}

// rootOnly is for calls that an agent without root does not make.
func rootOnly(r Row) Row {
	r.Arrange = func(*Site) error { return needRoot() }
	return r
}
