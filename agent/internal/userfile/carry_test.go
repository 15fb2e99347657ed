package userfile

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRewriteKeepsTheMode(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o644, 0o640, 0o400, 0o664} {
		target := userHome(t, []byte("old\n"))
		must(t, os.Chmod(target.Path, mode))
		_, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
		must(t, err)
		if st := statOf(t, target.Path); st.Mode != unix.S_IFREG|uint32(mode) {
			t.Errorf("mode %o, was %o", st.Mode, mode)
		}
	}
}

func TestRewriteDoesNotCarryPrivileges(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	must(t, unix.Chmod(target.Path, 0o6755))
	_, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	if st := statOf(t, target.Path); st.Mode != unix.S_IFREG|0o755 {
		t.Errorf("mode %o", st.Mode)
	}
}

func TestRewriteKeepsTheOwner(t *testing.T) {
	target := foreignHome(t, []byte("old\n"))
	for _, owner := range [][2]int{{someUID, someUID + 1}, {0, 7}} {
		must(t, os.Lchown(target.Path, owner[0], owner[1]))
		_, err := new(Writer).Rewrite(t.Context(), target, to("content for "+string(rune('a'+owner[1]%26))))
		must(t, err)
		if st := statOf(t, target.Path); int(st.Uid) != owner[0] || int(st.Gid) != owner[1] {
			t.Errorf("owner %d:%d, was %v", st.Uid, st.Gid, owner)
		}
	}
}

func TestRewriteGivesWhatItMakesToTheUser(t *testing.T) {
	needRoot(t)
	target := userHome(t, nil)
	target.UID, target.GID = someUID, someUID+1
	must(t, os.RemoveAll(filepath.Dir(target.Path)))
	must(t, os.Lchown(target.Home, someUID, someUID))
	must(t, os.Chmod(target.Home, os.ModeSetgid|0o750))
	_, err := new(Writer).Rewrite(t.Context(), target, to("new\n"))
	must(t, err)
	for path, mode := range map[string]uint32{target.Path: unix.S_IFREG | 0o600, filepath.Dir(target.Path): unix.S_IFDIR | 0o700} {
		if st := statOf(t, path); int(st.Uid) != someUID || int(st.Gid) != someUID+1 || st.Mode&^unix.S_ISGID != mode {
			t.Errorf("%s: owner %d:%d, mode %o", path, st.Uid, st.Gid, st.Mode)
		}
	}
}

func TestRewriteLeavesAFolderThatIsNotNewAsItIs(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	must(t, os.Chmod(filepath.Dir(target.Path), 0o775))
	must(t, os.Chmod(target.Home, 0o777))
	before, home := statOf(t, filepath.Dir(target.Path)), statOf(t, target.Home)
	_, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	after, homeAfter := statOf(t, filepath.Dir(target.Path)), statOf(t, target.Home)
	if after.Mode != before.Mode || after.Uid != before.Uid || homeAfter.Mode != home.Mode {
		t.Errorf("modes %o %o, were %o %o", after.Mode, homeAfter.Mode, before.Mode, home.Mode)
	}
}

// acl makes the kernel's form of an ACL that also lets one user read.
func acl(reader uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	add := func(tag, perm uint16, id uint32) {
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, perm)
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	const none = 1<<32 - 1
	add(0x01, 6, none)   // the owner
	add(0x02, 4, reader) // a user
	add(0x04, 0, none)   // the group
	add(0x10, 4, none)   // the mask
	add(0x20, 0, none)   // others
	return b
}

func setAttribute(t *testing.T, path, name string, value []byte) {
	t.Helper()
	err := unix.Lsetxattr(path, name, value, 0)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
		t.Skipf("not run: attribute %s cannot be set here: %v", name, err)
	}
	must(t, err)
}

func getAttribute(t *testing.T, path, name string) string {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Lgetxattr(path, name, buf)
	if errors.Is(err, unix.ENODATA) {
		return ""
	}
	must(t, err)
	return string(buf[:n])
}

func TestRewriteKeepsAttributes(t *testing.T) {
	for name, value := range map[string][]byte{
		accessACL:            acl(12345),
		"user.note":          []byte("mine"),
		"user.empty":         {},
		"user.long":          []byte(strings.Repeat("x", 2000)),
		"security.selinux":   []byte("unconfined_u:object_r:ssh_home_t:s0\x00"),
		"trusted.backup.tag": []byte("weekly"),
	} {
		t.Run(name, func(t *testing.T) {
			target := userHome(t, []byte("old\n"))
			setAttribute(t, target.Path, name, value)
			mode := statOf(t, target.Path).Mode
			_, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
			must(t, err)
			if got := getAttribute(t, target.Path, name); got != string(value) {
				t.Errorf("value %q, was %q", got, value)
			}
			if now := statOf(t, target.Path).Mode; now != mode {
				t.Errorf("mode %o, was %o", now, mode)
			}
		})
	}
}

func TestRewriteDropsAttributesAboutTheOldContent(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	// No kernel takes a made-up IMA signature without complaint everywhere; a capability is as good an example.
	needRoot(t)
	setAttribute(t, target.Path, "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	_, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	if got := getAttribute(t, target.Path, "security.capability"); got != "" {
		t.Errorf("capability %q was carried over", got)
	}
}

func TestRewriteDoesNotInheritAnACL(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	setAttribute(t, filepath.Dir(target.Path), "system.posix_acl_default", acl(12345))
	_, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	if got := getAttribute(t, target.Path, accessACL); got != "" {
		t.Errorf("the new file has the ACL %q", got)
	}
	if st := statOf(t, target.Path); st.Mode != unix.S_IFREG|0o600 {
		t.Errorf("mode %o", st.Mode)
	}
}

func TestRewriteStartsAgainWhenOnlyAttributesChange(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	var w Writer
	w.testOnlyBeforeCompare = func() {
		w.testOnlyBeforeCompare = nil
		must(t, os.Chmod(target.Path, 0o640))
	}
	out, err := w.Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	if st := statOf(t, target.Path); out.Tries != 2 || st.Mode != unix.S_IFREG|0o640 {
		t.Errorf("%d tries, mode %o", out.Tries, st.Mode)
	}
}

func TestAnAgentWithoutRootCannotTakeOverRootsFile(t *testing.T) {
	target := foreignHome(t, []byte("old\n"))
	must(t, os.Lchown(target.Path, 0, 0))
	must(t, os.Chmod(target.Path, 0o644))
	err := asUser(t, someUID, func() error {
		_, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
		return err
	})
	wantCode(t, err, Owner)
	wantContent(t, target.Path, "old\n")
	wantNoTemps(t, filepath.Dir(target.Path))
}

func TestAnAgentWithoutRootNeedsPermission(t *testing.T) {
	target := foreignHome(t, []byte("old\n"))
	must(t, os.Chmod(filepath.Dir(target.Path), 0o500))
	err := asUser(t, someUID, func() error {
		_, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
		return err
	})
	wantCode(t, err, Denied)
}

// setflag sets or clears an inode flag, as chattr does.
func setflag(t *testing.T, path string, flag int, on bool) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	must(t, err)
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if on {
		flags |= flag
	} else {
		flags &^= flag
	}
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags)
	}
	if err != nil {
		t.Skipf("not run: inode flags cannot be set here: %v", err)
	}
}

func TestFlagsThatForbidARenameAreSeenBeforehand(t *testing.T) {
	needRoot(t)
	const immutable, appendOnly = 0x10, 0x20 // FS_IMMUTABLE_FL and FS_APPEND_FL of linux/fs.h
	for _, flag := range []int{immutable, appendOnly} {
		for _, name := range []string{".ssh", ".ssh/authorized_keys"} {
			target := userHome(t, []byte("old\n"))
			path := filepath.Join(target.Home, name)
			setflag(t, path, flag, true)
			t.Cleanup(func() { setflag(t, path, flag, false) })
			out, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
			if e := wantCode(t, err, Immutable); e.Path != path || out.Written {
				t.Errorf("error about %s, want %s", e.Path, path)
			}
			wantNoTemps(t, filepath.Dir(target.Path))
			wantContent(t, target.Path, "old\n")
			if out, err := new(Writer).Rewrite(t.Context(), target, to("old\n")); err != nil || out.Written {
				t.Errorf("equal content: %+v, %v", out, err)
			}
		}
	}
}

// mount mounts a file system on a new home and returns a target in it.
func mount(t *testing.T, kind, options string) Target {
	t.Helper()
	needRoot(t)
	home := t.TempDir()
	if err := unix.Mount("none", home, kind, 0, options); err != nil {
		t.Skipf("not run: mounting %s: %v", kind, err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(home, unix.MNT_DETACH)) })
	target := Target{User: "u", Home: home, Path: filepath.Join(home, ".ssh", "authorized_keys")}
	must(t, os.Mkdir(filepath.Dir(target.Path), 0o700))
	must(t, os.WriteFile(target.Path, []byte("old\n"), 0o600))
	return target
}

func TestAFullDiskLeavesTheOldFile(t *testing.T) {
	target := mount(t, "tmpfs", "size=64k")
	filler := filepath.Join(target.Home, "filler")
	for size := 48 << 10; size >= 0; size -= 4 << 10 {
		must(t, os.WriteFile(filler, make([]byte, size), 0o600))
		out, err := new(Writer).Rewrite(t.Context(), target, to(strings.Repeat("x", 40<<10)))
		if err == nil && size < 24<<10 {
			break
		}
		wantCode(t, err, NoSpace)
		if out.Written {
			t.Error("written although the disk was full")
		}
		wantContent(t, target.Path, "old\n")
		wantNoTemps(t, filepath.Dir(target.Path))
	}
}

func TestNoInodesLeaveTheOldFile(t *testing.T) {
	target := mount(t, "tmpfs", "nr_inodes=5")
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(target.Home, "filler"+strings.Repeat("x", i)), nil, 0o600); errors.Is(err, unix.ENOSPC) {
			break
		}
	}
	_, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
	wantCode(t, err, NoSpace)
	wantContent(t, target.Path, "old\n")
}

func TestAReadOnlyFileSystemIsReported(t *testing.T) {
	target := mount(t, "tmpfs", "")
	must(t, unix.Mount("none", target.Home, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	_, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
	wantCode(t, err, ReadOnly)
	if out, err := new(Writer).Rewrite(t.Context(), target, to("old\n")); err != nil || out.Written {
		t.Errorf("equal content: %+v, %v", out, err)
	}
}

func TestTempsOfTheDeadAreSweptAndThoseOfTheLivingAreNot(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	dir := filepath.Dir(target.Path)
	must(t, os.WriteFile(filepath.Join(dir, TempPrefix+"dead"), []byte("half"), 0o600))
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, TempPrefix+"link")))
	must(t, os.Mkdir(filepath.Join(dir, TempPrefix+"folder"), 0o700))
	must(t, unix.Mkfifo(filepath.Join(dir, TempPrefix+"fifo"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "x"+TempPrefix), nil, 0o600))
	living, err := os.Create(filepath.Join(dir, TempPrefix+"living"))
	must(t, err)
	defer living.Close()
	must(t, unix.Flock(int(living.Fd()), unix.LOCK_EX))
	_, err = new(Writer).Rewrite(t.Context(), target, to("old\n"))
	must(t, err)
	var names []string
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{TempPrefix + "fifo", TempPrefix + "folder", TempPrefix + "living", "authorized_keys", "x" + TempPrefix}
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("left are %v, want %v", names, want)
	}
}

func TestASweptTempIsMadeAgain(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	var w Writer
	w.testOnlyBeforeRename = func() {
		w.testOnlyBeforeRename = nil
		temps, err := filepath.Glob(filepath.Join(filepath.Dir(target.Path), TempPrefix+"*"))
		if err != nil || len(temps) != 1 {
			t.Errorf("temps %v, %v", temps, err)
		}
		must(t, os.Remove(temps[0]))
	}
	out, err := w.Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	if out.Tries != 2 {
		t.Errorf("%d tries", out.Tries)
	}
	wantContent(t, target.Path, "old\nours\n")
}

func TestWhatIsReadBackIsWhatTheNameLeadsTo(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	w := Writer{testOnlyAfterRename: func() {
		must(t, os.Rename(filepath.Dir(target.Path), filepath.Join(target.Home, "moved")))
		must(t, os.Mkdir(filepath.Dir(target.Path), 0o700))
		must(t, os.WriteFile(target.Path, []byte("other\n"), 0o600))
	}}
	out, err := w.Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	if !out.Written || string(out.Bytes) != "other\n" {
		t.Errorf("outcome %+v with %q", out, out.Bytes)
	}
}

func TestContentThatIsTooLargeIsNotWritten(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	_, err := new(Writer).Rewrite(t.Context(), target, func([]byte) ([]byte, error) { return make([]byte, MaxSize+1), nil })
	wantCode(t, err, TooBig)
	wantContent(t, target.Path, "old\n")
}

// Between our mkdirat and our openat the user can put another folder of root's under the name.
func TestAFolderThatIsNotOursIsNotGivenAway(t *testing.T) {
	target := foreignHome(t, []byte("old\n"))
	for name, arrange := range map[string]func(dir string){
		"not empty":    func(dir string) { must(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o600)) },
		"another user": func(dir string) { must(t, os.Lchown(dir, someUID+1, 0)) },
	} {
		dir := filepath.Join(target.Home, "planted")
		must(t, os.Mkdir(dir, 0o755))
		arrange(dir)
		before := statOf(t, dir)
		f, err := os.Open(dir)
		must(t, err)
		must(t, new(Writer).giveDir(target, f, dir))
		f.Close()
		if after := statOf(t, dir); after.Uid != before.Uid || after.Mode != before.Mode {
			t.Errorf("%s: given away", name)
		}
		must(t, os.RemoveAll(dir))
	}
}

func TestATempIsSafeFromSweepsWhileItIsWritten(t *testing.T) {
	target := userHome(t, []byte("old\n"))
	w := new(Writer)
	d, err := w.openFolder(target, false)
	must(t, err)
	defer d.Close()
	tmp, err := d.newTemp()
	must(t, err)
	path := filepath.Join(filepath.Dir(target.Path), tmp.name)
	d.sweep()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("a living temp was swept: %v", err)
	}
	must(t, tmp.fill(w, &snapshot{}, []byte("new\n")))
	d.sweep()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an abandoned temp was not swept: %v", err)
	}
}
