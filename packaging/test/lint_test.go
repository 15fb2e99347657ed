//go:build installtest

package installtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPackagesAreClean holds the packages against what their distributions ask for. Overrides and filters have their reasons beside
// them, in the files that the linters read.
func TestPackagesAreClean(t *testing.T) {
	needs(t, "lintian", "rpmlint", "dpkg-deb", "rpm")
	step(t, "lintian", func(t *testing.T) string {
		// Machine code makes misspelt words by chance, others with every build, so that no override could name them; what
		// the programs say is checked for spelling in their source.
		args := []string{"--profile", "debian", "--display-info", "--pedantic", "--allow-root", "--fail-on", "error,warning,info,pedantic",
			"--suppress-tags", "spelling-error-in-binary"}
		overrides := 0
		for _, name := range []string{"rotatessh", "rotatessh-agent"} {
			args = append(args, artifact(t, name+"_*.deb"))
			overrides += strings.Count(read(t, repository+"/packaging/deb/"+name+".lintian-overrides"), "\n"+name+":")
		}
		run(t, "lintian", args...)
		return fmt.Sprintf("clean; %d overrides, each explained", overrides)
	})
	step(t, "rpmlint", func(t *testing.T) string {
		args := []string{"-c", repository + "/packaging/rpm/rpmlint.toml", artifact(t, "rotatessh-agent-*.rpm"), artifact(t, "rotatessh-[0-9]*.rpm")}
		// rpmlint unpacks with cpio into a folder of its own, but nfpm's names are absolute: without this, the files would land on
		// this machine, and go unchecked.
		tools := t.TempDir()
		writeScript(t, tools+"/cpio", "#!/bin/sh\nexec /usr/bin/cpio --no-absolute-filenames \"$@\"\n")
		out := run(t, "env", append([]string{"PATH=" + tools + ":" + os.Getenv("PATH"), "rpmlint"}, args...)...)
		contains(t, out, "0 errors, 0 warnings")
		return "clean; each filter explained"
	})
	step(t, "size", func(t *testing.T) string {
		info, err := os.Stat(artifact(t, "rotatessh-agent_*.deb"))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 6<<20 {
			t.Errorf("the agent's DEB has %d bytes", info.Size())
		}
		return fmt.Sprintf("the agent's DEB has %.2f MiB", float64(info.Size())/(1<<20))
	})
	step(t, "unit and configuration are the packages' own", func(t *testing.T) string {
		dir := t.TempDir()
		run(t, "dpkg-deb", "-x", artifact(t, "rotatessh-agent_*.deb"), dir)
		for shipped, source := range map[string]string{
			"usr/lib/systemd/system/" + unit: "packaging/systemd/" + unit, configFile: "packaging/etc/agent.yaml",
		} {
			if read(t, filepath.Join(dir, shipped)) != read(t, filepath.Join(repository, source)) {
				t.Errorf("%s is not %s", shipped, source)
			}
		}
		contains(t, run(t, "dpkg-deb", "-I", artifact(t, "rotatessh-agent_*.deb"), "conffiles"), "/"+configFile+"\n")
		contains(t, run(t, "rpm", "-qp", "--configfiles", artifact(t, "rotatessh-agent-*.rpm")), "/"+configFile+"\n")
		contains(t, run(t, "rpm", "-qp", "--licensefiles", artifact(t, "rotatessh-agent-*.rpm")), "LICENSE")
		contains(t, run(t, "rpm", "-qp", "--changelog", artifact(t, "rotatessh-agent-*.rpm")), "RotateSSH maintainers")
		return "configuration marked as such, licence and changelog present, in DEB and RPM"
	})
}

// TestFunctionIsSmall holds the program that each new environment of the function loads before its first event.
func TestFunctionIsSmall(t *testing.T) {
	step(t, "size", func(t *testing.T) string {
		info, err := os.Stat(unzip(t))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 14<<20 {
			t.Errorf("the function's program has %d bytes", info.Size())
		}
		return fmt.Sprintf("the function's program has %.2f MiB", float64(info.Size())/(1<<20))
	})
}

func writeScript(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
