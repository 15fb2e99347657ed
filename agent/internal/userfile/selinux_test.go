package userfile

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// testPolicy writes what the look-up reads of a policy.
func testPolicy(t *testing.T, files map[string]string) policy {
	t.Helper()
	dir := t.TempDir()
	p := policy{kernel: filepath.Join(dir, "fs"), config: filepath.Join(dir, "etc")}
	must(t, os.Mkdir(p.kernel, 0o755))
	must(t, os.WriteFile(filepath.Join(p.kernel, "enforce"), []byte("1"), 0o644))
	must(t, os.MkdirAll(filepath.Join(p.config, "default", "contexts", "files"), 0o755))
	must(t, os.WriteFile(filepath.Join(p.config, "config"), []byte("# comment\nSELINUX=enforcing\nSELINUXTYPE=default\n"), 0o644))
	for name, text := range files {
		must(t, os.WriteFile(filepath.Join(p.config, "default", "contexts", "files", name), []byte(text), 0o644))
	}
	return p
}

// A small excerpt in the form of the reference policy's files.
const (
	baseContexts = `# base
/.*	system_u:object_r:default_t:s0
/root	-d	root:object_r:user_home_dir_t:s0
/etc/.*	system_u:object_r:etc_t:s0
/etc/ssh(/.*)?	system_u:object_r:sshd_conf_t:s0
/etc/ssh/authorized_keys\.d/exact	--	system_u:object_r:exact_t:s0
/proc/.*	<<none>>
/usr/(lib|lib64)?/broken(?=x)	system_u:object_r:broken_t:s0
/srv|/opt	system_u:object_r:either_t:s0
`
	homeContexts = `/home/[^/]+/.+	unconfined_u:object_r:user_home_t:s0
/home/[^/]+/\.ssh(/.*)?	unconfined_u:object_r:ssh_home_t:s0
/home/[^/]+/only-folder	-d	unconfined_u:object_r:folder_t:s0
/home/x?y	-d	unconfined_u:object_r:optional_t:s0
`
)

func TestLabelsAreThoseOfThePolicy(t *testing.T) {
	p := testPolicy(t, map[string]string{
		"file_contexts":           baseContexts,
		"file_contexts.homedirs":  homeContexts,
		"file_contexts.local":     "/etc/ssh/local.*	system_u:object_r:local_t:s0\n",
		"file_contexts.subs_dist": "/var/home /home\n/mnt\n",
	})
	for _, c := range []struct {
		path string
		kind uint32
		want string
	}{
		{"/home/u/.ssh", unix.S_IFDIR, "unconfined_u:object_r:ssh_home_t:s0"},
		{"/home/u/.ssh/authorized_keys", unix.S_IFREG, "unconfined_u:object_r:ssh_home_t:s0"},
		{"/var/home/u/.ssh", unix.S_IFDIR, "unconfined_u:object_r:ssh_home_t:s0"},
		{"/home/u/.sshx", unix.S_IFDIR, "unconfined_u:object_r:user_home_t:s0"},
		{"/home/u/only-folder", unix.S_IFDIR, "unconfined_u:object_r:folder_t:s0"},
		{"/home/u/only-folder", unix.S_IFREG, "unconfined_u:object_r:user_home_t:s0"},
		{"/home/y", unix.S_IFDIR, "unconfined_u:object_r:optional_t:s0"},
		{"/etc/ssh/authorized_keys.d/u", unix.S_IFREG, "system_u:object_r:sshd_conf_t:s0"},
		{"/etc/ssh/authorized_keys.d/exact", unix.S_IFREG, "system_u:object_r:exact_t:s0"},
		{"/etc/ssh/local-keys", unix.S_IFREG, "system_u:object_r:local_t:s0"},
		{"/data/u/.ssh", unix.S_IFDIR, ""},
		{"/proc/x", unix.S_IFREG, ""},
		{"/usr/lib/brokenx", unix.S_IFREG, ""},
		{"/opt", unix.S_IFDIR, "system_u:object_r:either_t:s0"},
	} {
		if got, err := p.find(c.path, c.kind); err != nil || got != c.want {
			t.Errorf("%s: label %q, %v; want %q", c.path, got, err, c.want)
		}
	}
}

func TestWithoutSELinuxThereIsNoLabel(t *testing.T) {
	p := testPolicy(t, map[string]string{"file_contexts": baseContexts})
	must(t, os.Remove(filepath.Join(p.kernel, "enforce")))
	if got, err := p.find("/etc/ssh/x", unix.S_IFREG); got != "" || err != nil {
		t.Errorf("label %q, %v", got, err)
	}
}

func TestAPolicyThatCannotBeReadIsAnError(t *testing.T) {
	p := testPolicy(t, map[string]string{"file_contexts": baseContexts})
	must(t, os.Mkdir(filepath.Join(p.config, "default", "contexts", "files", "file_contexts.local"), 0o755))
	if got, err := p.find("/etc/ssh/x", unix.S_IFREG); err == nil {
		t.Errorf("label %q", got)
	}
	must(t, os.Remove(filepath.Join(p.config, "config")))
	must(t, os.Mkdir(filepath.Join(p.config, "config"), 0o755))
	if got, err := p.find("/etc/ssh/x", unix.S_IFREG); err == nil {
		t.Errorf("label %q", got)
	}
}

func TestRewriteLabelsWhatItMakes(t *testing.T) {
	needRoot(t)
	target := userHome(t, nil)
	must(t, os.RemoveAll(filepath.Dir(target.Path)))
	const label = "unconfined_u:object_r:ssh_home_t:s0"
	w := Writer{policy: testPolicy(t, map[string]string{"file_contexts": target.Home + `/\.ssh(/.*)?	` + label + "\n"})}
	_, err := w.Rewrite(t.Context(), target, to("new\n"))
	if hasCode(err, IO) || hasCode(err, Denied) {
		t.Skipf("not run: labels cannot be set here: %v", err)
	}
	must(t, err)
	for _, path := range []string{target.Path, filepath.Dir(target.Path)} {
		if got := getAttribute(t, path, "security.selinux"); got != label+"\x00" {
			t.Errorf("%s has the label %q", path, got)
		}
	}
}
