package userfile

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// someUID is a user that is neither root nor, in all likelihood, anybody.
const someUID = 54321

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not run: needs root")
	}
}

// foreignHome is a userHome that belongs to somebody else than the agent, which is root.
func foreignHome(t *testing.T, content []byte) Target {
	t.Helper()
	needRoot(t)
	target := userHome(t, content)
	target.UID, target.GID = someUID, someUID
	must(t, os.Chmod(filepath.Dir(target.Home), 0o755))
	for _, p := range []string{target.Home, filepath.Dir(target.Path), target.Path} {
		if err := os.Lchown(p, someUID, someUID); err != nil && content != nil {
			t.Fatal(err)
		}
	}
	return target
}

// A canary is a file outside the home that nobody may touch.
type canary struct {
	path string
	st   unix.Stat_t
}

func newCanary(t *testing.T, content string) canary {
	t.Helper()
	path := filepath.Join(t.TempDir(), "canary")
	must(t, os.WriteFile(path, []byte(content), 0o644))
	return canary{path, statOf(t, path)}
}

func (c canary) check(t *testing.T) {
	t.Helper()
	now := statOf(t, c.path)
	now.Atim = c.st.Atim
	if now != c.st {
		t.Errorf("a file outside the home was touched: %+v, was %+v", now, c.st)
	}
	entries, err := os.ReadDir(filepath.Dir(c.path))
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("files were made outside the home: %v", entries)
	}
}

func TestWhatIsInTheWayIsRefusedAndLeftAlone(t *testing.T) {
	outside := newCanary(t, "their\n")
	for name, c := range map[string]struct {
		arrange func(t *testing.T, target *Target)
		want    Code
		at      string // below the home, what the error must name
	}{
		"file is a link": {func(t *testing.T, target *Target) {
			must(t, os.Remove(target.Path))
			must(t, os.Symlink(outside.path, target.Path))
		}, Symlink, ".ssh/authorized_keys"},
		"file is a link to nowhere": {func(t *testing.T, target *Target) {
			must(t, os.Remove(target.Path))
			must(t, os.Symlink(filepath.Join(filepath.Dir(outside.path), "new"), target.Path))
		}, Symlink, ".ssh/authorized_keys"},
		"file has another name": {func(t *testing.T, target *Target) {
			must(t, os.Link(target.Path, target.Path+"2"))
		}, HardLink, ".ssh/authorized_keys"},
		"file is a folder": {func(t *testing.T, target *Target) {
			must(t, os.Remove(target.Path))
			must(t, os.Mkdir(target.Path, 0o700))
		}, NotRegular, ".ssh/authorized_keys"},
		"file is a FIFO": {func(t *testing.T, target *Target) {
			must(t, os.Remove(target.Path))
			must(t, unix.Mkfifo(target.Path, 0o600))
		}, NotRegular, ".ssh/authorized_keys"},
		"file is a socket": {func(t *testing.T, target *Target) {
			must(t, os.Remove(target.Path))
			t.Chdir(filepath.Dir(target.Path)) // a socket's path must be short
			l, err := net.Listen("unix", "authorized_keys")
			must(t, err)
			t.Cleanup(func() { l.Close() })
		}, NotRegular, ".ssh/authorized_keys"},
		"folder is a link to outside": {func(t *testing.T, target *Target) {
			must(t, os.Rename(filepath.Dir(target.Path), filepath.Join(target.Home, "moved")))
			must(t, os.Symlink(filepath.Dir(outside.path), filepath.Dir(target.Path)))
		}, OutsideHome, ".ssh"},
		"folder is a link upwards": {func(t *testing.T, target *Target) {
			must(t, os.Rename(filepath.Dir(target.Path), filepath.Join(target.Home, "moved")))
			must(t, os.Symlink("../../..", filepath.Dir(target.Path)))
		}, OutsideHome, ".ssh"},
		"folder is a link to itself": {func(t *testing.T, target *Target) {
			must(t, os.Rename(filepath.Dir(target.Path), filepath.Join(target.Home, "moved")))
			must(t, os.Symlink(".ssh", filepath.Dir(target.Path)))
		}, OutsideHome, ".ssh"},
		"folder is a link to nowhere": {func(t *testing.T, target *Target) {
			must(t, os.Rename(filepath.Dir(target.Path), filepath.Join(target.Home, "moved")))
			must(t, os.Symlink("nowhere", filepath.Dir(target.Path)))
		}, Symlink, ".ssh"},
		"folder is a file": {func(t *testing.T, target *Target) {
			must(t, os.RemoveAll(filepath.Dir(target.Path)))
			must(t, os.WriteFile(filepath.Dir(target.Path), nil, 0o600))
		}, NotRegular, ".ssh"},
		"folder is a FIFO": {func(t *testing.T, target *Target) {
			must(t, os.RemoveAll(filepath.Dir(target.Path)))
			must(t, unix.Mkfifo(filepath.Dir(target.Path), 0o600))
		}, NotRegular, ".ssh"},
		"folder's folder is missing": {func(t *testing.T, target *Target) {
			target.Path = filepath.Join(target.Home, "a", "b", "keys")
		}, NoFolder, "a/b"},
		"home is missing": {func(t *testing.T, target *Target) {
			must(t, os.RemoveAll(target.Home))
		}, NoHome, "."},
		"home is a file": {func(t *testing.T, target *Target) {
			must(t, os.RemoveAll(target.Home))
			must(t, os.WriteFile(target.Home, nil, 0o600))
		}, NoHome, "."},
		"file is too large": {func(t *testing.T, target *Target) {
			must(t, os.Truncate(target.Path, MaxSize+1))
		}, TooBig, ".ssh/authorized_keys"},
		"file is somebody else's": {func(t *testing.T, target *Target) {
			needRoot(t)
			must(t, os.Lchown(target.Path, someUID+1, 0))
		}, Owner, ".ssh/authorized_keys"},
		"folder is somebody else's": {func(t *testing.T, target *Target) {
			needRoot(t)
			must(t, os.Lchown(filepath.Dir(target.Path), someUID+1, 0))
		}, Owner, ".ssh"},
		"home is somebody else's": {func(t *testing.T, target *Target) {
			needRoot(t)
			must(t, os.Lchown(target.Home, someUID+1, 0))
		}, Owner, "."},
		"home is a link that somebody else made": {func(t *testing.T, target *Target) {
			needRoot(t)
			link := filepath.Join(t.TempDir(), "link")
			must(t, os.Symlink(target.Home, link))
			must(t, os.Lchown(link, someUID, someUID))
			target.Home, target.Path = link, filepath.Join(link, ".ssh", "authorized_keys")
		}, Symlink, "."},
		"home is a link in a folder of somebody else": {func(t *testing.T, target *Target) {
			needRoot(t)
			dir := t.TempDir()
			must(t, os.Symlink(target.Home, filepath.Join(dir, "link")))
			must(t, os.Lchown(dir, someUID, someUID))
			target.Home, target.Path = filepath.Join(dir, "link"), filepath.Join(dir, "link", ".ssh", "authorized_keys")
		}, Symlink, "."},
	} {
		t.Run(name, func(t *testing.T) {
			target := userHome(t, []byte("old\n"))
			c.arrange(t, &target)
			before := listing(t, target.Home)
			out, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
			e := wantCode(t, err, c.want)
			if want := filepath.Join(target.Home, c.at); e.Path != want || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v is about %q, want %q", err, e.Path, want)
			}
			if out.Written || out.Bytes != nil {
				t.Errorf("outcome %+v", out)
			}
			if after := listing(t, target.Home); after != before {
				t.Errorf("the home was changed from\n%sto\n%s", before, after)
			}
			if _, err := new(Writer).Read(t.Context(), target); !hasCode(err, c.want) && c.want != NoFolder {
				t.Errorf("reading answers %v", err)
			}
			outside.check(t)
		})
	}
}

// listing describes everything below dir.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error {
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			fmt.Fprintln(&b, path, st.Mode, st.Uid, st.Gid, st.Size, st.Ino, st.Nlink)
		}
		return nil
	})
	return b.String()
}

func TestALinkedFolderInsideTheHomeIsFine(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	must(t, os.Mkdir(filepath.Join(target.Home, "dot"), 0o700))
	must(t, os.Rename(filepath.Dir(target.Path), filepath.Join(target.Home, "dot", "ssh")))
	must(t, os.Symlink("dot/ssh", filepath.Dir(target.Path)))
	out, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	if string(out.Bytes) != "old\nours\n" {
		t.Errorf("outcome %+v", out)
	}
	if st := statOf(t, filepath.Dir(target.Path)); !isType(&st, unix.S_IFLNK) {
		t.Error("the link was replaced")
	}
}

func TestAHomeBehindRootsLinkIsFine(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	for _, to := range []string{target.Home, "../" + filepath.Base(filepath.Dir(target.Home)) + "/./" + filepath.Base(target.Home)} {
		dir := t.TempDir()
		if to[0] == '.' {
			dir = filepath.Join(filepath.Dir(target.Home), "beside")
			must(t, os.Mkdir(dir, 0o755))
			to = "../" + filepath.Base(target.Home)
		}
		linked := target
		linked.Home = filepath.Join(dir, "home")
		linked.Path = filepath.Join(linked.Home, ".ssh", "authorized_keys")
		must(t, os.Symlink(to, linked.Home))
		if _, err := new(Writer).Rewrite(t.Context(), linked, addLine("ours\n")); err != nil {
			t.Errorf("through a link to %q: %v", to, err)
		}
	}
	wantContent(t, target.Path, "old\nours\n")
}

func TestLinksInCirclesEnd(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink("b", filepath.Join(dir, "a")))
	must(t, os.Symlink("a", filepath.Join(dir, "b")))
	target := Target{UID: os.Geteuid(), GID: os.Getegid(), Home: filepath.Join(dir, "a", "home"), Path: filepath.Join(dir, "a", "home", "keys")}
	_, err := new(Writer).Rewrite(t.Context(), target, to("x\n"))
	wantCode(t, err, Symlink)
}

func TestStrangePathsAreRefused(t *testing.T) {
	for _, target := range []Target{
		{Home: "home/u", Path: "/home/u/.ssh/authorized_keys"},
		{Home: "/home/u", Path: ".ssh/authorized_keys"},
		{Home: "/home/u", Path: "/home/u/../v/.ssh/authorized_keys"},
		{Home: "/home/u", Path: "/home/u/.ssh/authorized_keys/"},
		{Home: "/home/u", Path: "/home/u/\x00"},
		{Home: "/home/u", Path: "/"},
		{Home: "", Path: "/home/u/.ssh/authorized_keys"},
		{Home: "/home/u", Path: "/home/u/.ssh/authorized_keys", UID: -1},
	} {
		_, err := new(Writer).Rewrite(t.Context(), target, to("x\n"))
		wantCode(t, err, BadTarget)
	}
}

// safeDir is a folder outside every home that sshd would trust: no folder above it can be written by others.
func safeDir(t *testing.T) string {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("not run: no folder of one's own: %v", err)
	}
	must(t, os.MkdirAll(base, 0o700))
	dir, err := os.MkdirTemp(base, "userfile-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func outsideTarget(dir string) Target {
	return Target{User: "u", UID: os.Geteuid(), GID: os.Getegid(), Home: "/nonexistent", Path: filepath.Join(dir, "u")}
}

func TestAFileOutsideTheHome(t *testing.T) {
	dir := safeDir(t)
	target := outsideTarget(dir)
	for _, want := range []string{"one\n", "one\ntwo\n"} {
		out, err := new(Writer).Rewrite(t.Context(), target, to(want))
		must(t, err)
		if string(out.Bytes) != want || !out.Written {
			t.Errorf("outcome %+v", out)
		}
	}
	if st := statOf(t, target.Path); st.Mode != unix.S_IFREG|0o600 || int(st.Uid) != target.UID {
		t.Errorf("mode %o, owner %d", st.Mode, st.Uid)
	}
}

func TestAFileOutsideTheHomeNeedsFoldersThatSSHDTrusts(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(t *testing.T, dir string, target *Target)
		want    Code
	}{
		"missing": {func(_ *testing.T, dir string, target *Target) { target.Path = filepath.Join(dir, "none", "u") }, NoFolder},
		"a file": {func(t *testing.T, dir string, target *Target) {
			must(t, os.WriteFile(filepath.Join(dir, "none"), nil, 0o600))
			target.Path = filepath.Join(dir, "none", "u")
		}, NoFolder},
		"writable by the group": {func(t *testing.T, dir string, _ *Target) { must(t, os.Chmod(dir, 0o770)) }, UnsafeFolder},
		"below one writable by all": {func(t *testing.T, dir string, target *Target) {
			must(t, os.Chmod(dir, os.ModeSticky|0o777))
			target.Path = filepath.Join(dir, "keys", "u")
			must(t, os.Mkdir(filepath.Dir(target.Path), 0o700))
		}, UnsafeFolder},
		"a link": {func(t *testing.T, dir string, target *Target) {
			must(t, os.Mkdir(filepath.Join(dir, "keys"), 0o700))
			must(t, os.Symlink("keys", filepath.Join(dir, "link")))
			target.Path = filepath.Join(dir, "link", "u")
		}, Symlink},
		"somebody else's": {func(t *testing.T, dir string, target *Target) {
			needRoot(t)
			target.Path = filepath.Join(dir, "keys", "u")
			must(t, os.Mkdir(filepath.Dir(target.Path), 0o700))
			must(t, os.Lchown(filepath.Dir(target.Path), someUID, someUID))
		}, Owner},
		"in a home of the whole system": {func(t *testing.T, dir string, target *Target) {
			target.Home = "/"
			must(t, os.Chmod(dir, 0o777))
		}, UnsafeFolder},
	} {
		t.Run(name, func(t *testing.T) {
			dir := safeDir(t)
			target := outsideTarget(dir)
			c.arrange(t, dir, &target)
			before := listing(t, dir)
			_, err := new(Writer).Rewrite(t.Context(), target, to("x\n"))
			wantCode(t, err, c.want)
			if after := listing(t, dir); after != before {
				t.Errorf("the folder was changed from\n%sto\n%s", before, after)
			}
		})
	}
}

func TestALinkFurtherUpOutsideTheHomeIsFollowedWhenRootMadeIt(t *testing.T) {
	dir := safeDir(t)
	must(t, os.MkdirAll(filepath.Join(dir, "real", "keys"), 0o700))
	must(t, os.Symlink("real", filepath.Join(dir, "link")))
	target := outsideTarget(filepath.Join(dir, "link", "keys"))
	_, err := new(Writer).Rewrite(t.Context(), target, to("x\n"))
	must(t, err)
	wantContent(t, filepath.Join(dir, "real", "keys", "u"), "x\n")
}

func TestReadAnswersNothingWhereThereIsNothing(t *testing.T) {
	target := userHome(t, nil)
	for range 2 {
		if got, err := new(Writer).Read(t.Context(), target); got != nil || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		must(t, os.RemoveAll(filepath.Dir(target.Path)))
	}
}

func TestReadReturnsTheContent(t *testing.T) {
	target := userHome(t, []byte("a\x00\r\n"))
	got, err := new(Writer).Read(t.Context(), target)
	if err != nil || !bytes.Equal(got, []byte("a\x00\r\n")) {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []Code{
		Symlink, NotRegular, HardLink, Immutable, ReadOnly, NoSpace, Owner, UnsafeFolder, NoHome, NoFolder, OutsideHome, TooBig, Denied, Busy,
		BadTarget, IO,
	} {
		e := &Error{Code: c, Path: "/home/u/.ssh", Err: unix.EIO}
		what, remedy := explain(c)
		if !strings.Contains(e.Error(), `"/home/u/.ssh" `+what+": "+remedy) || !strings.Contains(e.Error(), "input/output error") || !errors.Is(e, unix.EIO) {
			t.Errorf("%s: %v", c, e)
		}
		if other, _ := explain("other"); c != IO && what == other {
			t.Errorf("%s has no text of its own", c)
		}
	}
	for errno, want := range map[error]Code{
		unix.ENOSPC: NoSpace, unix.EDQUOT: NoSpace, unix.EROFS: ReadOnly, unix.EACCES: Denied, unix.EPERM: Denied, unix.ELOOP: Symlink,
		unix.EISDIR: NotRegular, unix.ENXIO: NotRegular, unix.EIO: IO, unix.ESTALE: IO,
	} {
		err := classify("/x", &os.PathError{Op: "openat", Path: "x", Err: errno})
		if !hasCode(err, want) {
			t.Errorf("%v becomes %v, want %s", errno, err, want)
		}
		if again := classify("/y", err); !errors.Is(again, err) || again.Error() != err.Error() {
			t.Errorf("classified twice: %v", again)
		}
	}
	if err := classify("/x", nil); err != nil {
		t.Errorf("no error becomes %v", err)
	}
}

func TestRootsLinkInAFolderThatOthersCanWriteIsNotFollowed(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	dir := t.TempDir()
	must(t, os.Symlink(target.Home, filepath.Join(dir, "link")))
	target.Home, target.Path = filepath.Join(dir, "link"), filepath.Join(dir, "link", ".ssh", "authorized_keys")
	must(t, os.Chmod(dir, 0o777))
	_, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
	wantCode(t, err, Symlink)
	must(t, os.Chmod(dir, os.ModeSticky|0o777)) // now nobody can put another link in its place
	_, err = new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
}

// What is opened may not be what was looked at just before.
func TestAFileThatWasReplacedBetweenLookAndOpenIsNotRead(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	d, err := new(Writer).openFolder(target, false)
	must(t, err)
	defer d.Close()
	s, err := d.take()
	must(t, err)
	defer s.close()
	other := s.st
	other.Ino++
	if err := d.fill(&snapshot{f: s.f}, &other); !errors.Is(err, errMoved) {
		t.Errorf("another inode: %v", err)
	}
	must(t, os.Remove(target.Path))
	if err := d.fill(&snapshot{f: s.f}, &s.st); !errors.Is(err, errMoved) {
		t.Errorf("a file without a name: %v", err)
	}
}
