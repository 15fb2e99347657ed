//go:build installtest

package installtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// nextPackage builds the agent's package as of a later version, in which the default configuration is another one, too.
func nextPackage(t *testing.T, kind string) string {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "agent.yaml")
	write(t, conf, read(t, repository+"/packaging/etc/agent.yaml")+"\n# a later version's remark\n")
	recipe := filepath.Join(dir, "nfpm.yaml")
	write(t, recipe, strings.Replace(read(t, repository+"/packaging/nfpm-agent.yaml"), "src: packaging/etc/agent.yaml", "src: "+conf, 1))
	nfpm := strings.Fields(os.Getenv("NFPM"))
	if len(nfpm) == 0 {
		t.Fatal("NFPM is not set: run make package-test")
	}
	cmd := exec.Command(nfpm[0], append(nfpm[1:], "package", "-f", recipe, "-p", kind, "-t", dir)...)
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), "VERSION=99.0.0", "ARCH="+runtime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nfpm: %v\n%s", err, out)
	}
	found, _ := filepath.Glob(filepath.Join(dir, "*."+kind))
	if len(found) != 1 {
		t.Fatalf("nfpm made %v", found)
	}
	return found[0]
}
