//go:build installtest

package installtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRPM installs the RPM with rpm itself, whose scriptlets really run in the root.
func TestRPM(t *testing.T) {
	needs(t, "rpm", "debootstrap")
	r := &rpmRoot{dir: newRoot(t, container.base(t))}
	r.command = func(option string, file string) []string {
		if option == "erase" {
			return []string{"rpm", "--root", r.dir, "-e", "rotatessh-agent"}
		}
		return []string{"rpm", "--root", r.dir, "--nodeps", "--nosignature", "-Uv", file}
	}
	r.story(t)
}

// TestDNF installs the RPM with dnf from a repository.
func TestDNF(t *testing.T) {
	needs(t, "dnf", "createrepo_c", "rpm", "debootstrap")
	r := &rpmRoot{dir: newRoot(t, container.base(t))}
	repo := t.TempDir()
	cache := t.TempDir()
	write(t, filepath.Join(repo, "dnf.conf"), "[main]\ngpgcheck=0\nplugins=0\ninstall_weak_deps=0\nkeepcache=0\n")
	r.command = func(option string, file string) []string {
		args := []string{"dnf", "-y", "-c", filepath.Join(repo, "dnf.conf"), "--installroot", r.dir, "--releasever", "1", "--setopt=cachedir=" + cache,
			"--setopt=reposdir=/nonexistent", "--repofrompath", "rotatessh," + repo + "/packages"}
		if option == "erase" {
			return append(args, "--setopt=clean_requirements_on_remove=0", "remove", "rotatessh-agent")
		}
		os.MkdirAll(repo+"/packages", 0o755)
		stub(t, repo+"/packages")
		run(t, "cp", file, repo+"/packages")
		run(t, "createrepo_c", "-q", repo+"/packages")
		os.RemoveAll(cache)
		if option == "upgrade" {
			return append(args, "upgrade", "rotatessh-agent")
		}
		return append(args, "install", "rotatessh-agent")
	}
	r.story(t)
}

// stub makes a package that provides the shell, which the root has, though not from a package that rpm knows.
func stub(t *testing.T, dir string) {
	t.Helper()
	if found, _ := filepath.Glob(dir + "/base-*.rpm"); len(found) == 0 {
		run(t, "cp", nextFolder+"/base.rpm", dir)
	}
}

// rpmRoot is a root in which the agent's RPM comes, is upgraded and goes.
type rpmRoot struct {
	dir     string
	command func(option, file string) []string
}

func (r *rpmRoot) do(t *testing.T, option, file string) string {
	t.Helper()
	args := r.command(option, file)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (r *rpmRoot) path(name string) string { return filepath.Join(r.dir, name) }

func (r *rpmRoot) story(t *testing.T) {
	edited := settings + "# edited by the operator\n"
	keys := "# BEGIN rotatessh arn:x (managed, edits are overwritten)\n# END rotatessh arn:x\n"
	step(t, "install", func(t *testing.T) string {
		out := r.do(t, "install", artifact(t, "rotatessh-agent-*.rpm"))
		contains(t, out, "systemctl enable --now rotatessh-agent")
		contains(t, read(t, r.path("etc/passwd")), "\nrotatessh:")
		if links, _ := filepath.Glob(r.path("etc/systemd/system/*.wants/" + unit)); len(links) > 0 {
			t.Errorf("enabled: %v", links)
		}
		contains(t, run(t, "chroot", r.dir, "rotatessh-agent", "version"), "rotatessh-agent")
		return "scriptlet ran, account made, nothing enabled"
	})
	step(t, "upgrade with an edited configuration", func(t *testing.T) string {
		write(t, r.path(configFile), edited)
		run(t, "chroot", r.dir, "systemctl", "enable", unit)
		os.MkdirAll(r.path("var/lib/rotatessh"), 0o700)
		os.MkdirAll(r.path("home/"+account+"/.ssh"), 0o700)
		write(t, r.path(keysFile), keys)
		if out := r.do(t, "upgrade", nextPackage(t, "rpm")); strings.Contains(out, "stay in authorized_keys") {
			t.Errorf("the upgrade talks of removal:\n%s", out)
		}
		if read(t, r.path(configFile)) != edited {
			t.Error("the configuration was replaced")
		}
		contains(t, read(t, r.path(configFile+".rpmnew")), "a later version's remark")
		if _, err := os.Lstat(r.path("etc/systemd/system/multi-user.target.wants/" + unit)); err != nil {
			t.Errorf("the upgrade disabled the agent: %v", err)
		}
		return "kept, new one beside it as .rpmnew, still enabled"
	})
	step(t, "erase", func(t *testing.T) string {
		contains(t, r.do(t, "erase", ""), "the managed keys stay in authorized_keys")
		if read(t, r.path(keysFile)) != keys {
			t.Error("authorized_keys was changed")
		}
		if read(t, r.path(configFile+".rpmsave")) != edited {
			t.Error("the edited configuration is not in .rpmsave")
		}
		for _, gone := range []string{"usr/bin/rotatessh-agent", "usr/lib/systemd/system/" + unit, "var/lib/rotatessh", "etc/systemd/system/multi-user.target.wants/" + unit} {
			if _, err := os.Lstat(r.path(gone)); err == nil {
				t.Errorf("%s is still there", gone)
			}
		}
		return "keys stay, edits in .rpmsave, state and links gone"
	})
}
