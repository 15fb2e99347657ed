//go:build installtest

package installtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// roots is where roots are made; the base stays there for the next run.
const roots = "/var/tmp/rotatessh-installtest"

const (
	suite   = "bookworm"
	account = "ec2-user"
)

// A flavour is what a base has in it.
type flavour struct{ name, packages string }

var (
	container = flavour{"container", "systemd,systemd-sysv,dbus,libpam-systemd,libnss-systemd,openssh-server,iproute2"}
	// virtual has what a machine of its own needs, too, and SELinux.
	virtual = flavour{"virtual", container.packages + ",udev,initramfs-tools,linux-image-cloud-amd64,selinux-policy-default,policycoreutils,selinux-utils"}
)

func (f flavour) folder() string { return filepath.Join(roots, suite+"-"+f.name) }

// make makes a minimal Debian with systemd and sshd, once: it takes a minute, and the network.
func (f flavour) make() error {
	dir := f.folder()
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(roots, 0o755); err != nil {
		return err
	}
	raw := dir + ".part"
	os.RemoveAll(raw)
	for _, command := range [][]string{
		{"debootstrap", "--variant=minbase", "--include=" + f.packages, suite, raw},
		{"chroot", raw, "useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", account},
		{"chroot", raw, "systemctl", "enable", "systemd-networkd.service", "ssh.service"},
		{"chroot", raw, "systemctl", "mask", "systemd-resolved.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"},
		{"chroot", raw, "apt-get", "clean"},
		{"truncate", "-s", "0", raw + "/etc/machine-id"},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
		}
	}
	return os.Rename(raw, dir)
}

// base gives the root that was made beforehand.
func (f flavour) base(t *testing.T) string {
	t.Helper()
	dir := f.folder()
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	return dir
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
