package sshdtest

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// RootVariable names a folder with another distribution, made for example by
//
//	debootstrap --variant=minbase --include=openssh-server trixie FOLDER
//
// whose OpenSSH the tests are to run against as well.
const RootVariable = "ROTATESSH_TEST_SSHD_ROOT"

// NeedForeign skips the test unless another distribution's sshd is at hand. Otherwise the servers which the
// test starts are that one's, with this machine's users, homes and /run.
func NeedForeign(t testing.TB) {
	t.Helper()
	root := os.Getenv(RootVariable)
	if root == "" {
		t.Skipf("not run: %s does not name a folder with another distribution", RootVariable)
	}
	NeedPrivate(t)
	if _, err := os.Stat(root + Program); err != nil {
		t.Fatalf("%s names a folder without sshd: %v", RootVariable, err)
	}
	for _, name := range []string{"/etc/passwd", "/etc/group", "/etc/shadow", "/home", "/run", "/dev", "/proc"} {
		if err := unix.Mount(name, filepath.Join(root, name), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			t.Fatalf("mounting %s below %s: %v", name, root, err)
		}
		t.Cleanup(func() { unix.Unmount(filepath.Join(root, name), unix.MNT_DETACH) })
	}
	t.Setenv(foreignRoot, root)
}

// foreignRoot tells Start; it is set by NeedForeign for one test.
const foreignRoot = "ROTATESSH_TEST_SSHD_CHROOT"
