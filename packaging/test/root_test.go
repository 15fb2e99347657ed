//go:build installtest

package installtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// roots is where roots are made; the base stays there for the next run.
const roots = "/var/tmp/rotatessh-installtest"

const (
	suite    = "bookworm"
	packages = "systemd,systemd-sysv,dbus,libpam-systemd,libnss-systemd,openssh-server,iproute2"
	account  = "ec2-user"
)

// base gives a minimal Debian with systemd and sshd. Making it takes a minute and is done once.
func base(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(roots, suite+"-"+strings.ReplaceAll(packages, ",", "-"))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(roots, 0o755); err != nil {
		t.Fatal(err)
	}
	raw := dir + ".part"
	os.RemoveAll(raw)
	run(t, "debootstrap", "--variant=minbase", "--include="+packages, suite, raw, mirror())
	for _, command := range [][]string{
		{"useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", account},
		{"systemctl", "enable", "systemd-networkd.service", "ssh.service"},
		{"systemctl", "mask", "systemd-resolved.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"},
		{"apt-get", "clean"},
	} {
		run(t, "chroot", append([]string{raw}, command...)...)
	}
	write(t, filepath.Join(raw, "etc/machine-id"), "")
	if err := os.Rename(raw, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mirror is where this machine gets its own packages from, as far as it is an ordinary Debian.
func mirror() string {
	if m := os.Getenv("ROTATESSH_DEBIAN_MIRROR"); m != "" {
		return m
	}
	return "http://deb.debian.org/debian"
}

// newRoot gives a copy of a root, which goes when the test ends.
func newRoot(t *testing.T, of string) string {
	t.Helper()
	dir, err := os.MkdirTemp(roots, "root-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	run(t, "cp", "-a", "--reflink=auto", of+"/.", dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// artifact is a file that was built to be shipped, for this machine's architecture.
func artifact(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(repository, os.Getenv("ROTATESSH_DIST"), pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %d files; run make package-test", pattern, len(found))
	}
	return found[0]
}

const repository = "../.."
