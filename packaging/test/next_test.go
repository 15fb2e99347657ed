//go:build installtest

package installtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// nextFolder is where the packages of a later version are.
const nextFolder = repository + "/build/package/next"

// makeNext builds the agent's packages as of a later version, in which the default configuration is another one, too.
func makeNext() error {
	conf, err := os.ReadFile(repository + "/packaging/etc/agent.yaml")
	recipe, err2 := os.ReadFile(repository + "/packaging/nfpm-agent.yaml")
	if err := errors.Join(err, err2, os.RemoveAll(nextFolder), os.MkdirAll(nextFolder, 0o755)); err != nil {
		return err
	}
	err = os.WriteFile(nextFolder+"/agent.yaml", append(conf, "\n# a later version's remark\n"...), 0o644)
	text := strings.Replace(string(recipe), "src: packaging/etc/agent.yaml", "src: build/package/next/agent.yaml", 1)
	if err := errors.Join(err, os.WriteFile(nextFolder+"/nfpm.yaml", []byte(text), 0o644)); err != nil {
		return err
	}
	nfpm := strings.Fields(os.Getenv("NFPM"))
	if len(nfpm) == 0 {
		return errors.New("NFPM is not set: run make package-test")
	}
	// What the root has, and no package that rpm knows: a shell.
	base := "name: base\nversion: 1.0.0\narch: " + runtime.GOARCH + "\nmaintainer: nobody <nobody@rotatessh.example>\ndescription: base\nlicense: none\nprovides: [/bin/sh]\n"
	if err := os.WriteFile(nextFolder+"/base.yaml", []byte(base), 0o644); err != nil {
		return err
	}
	for _, p := range []struct{ recipe, kind, target string }{
		{"nfpm.yaml", "deb", "agent.deb"}, {"nfpm.yaml", "rpm", "agent.rpm"}, {"base.yaml", "rpm", "base.rpm"},
	} {
		cmd := exec.Command(nfpm[0], append(nfpm[1:], "package", "-f", "build/package/next/"+p.recipe, "-p", p.kind, "-t", "build/package/next/"+p.target)...)
		cmd.Dir = repository
		cmd.Env = append(os.Environ(), "VERSION=99.0.0", "ARCH="+runtime.GOARCH)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nfpm: %w\n%s", err, out)
		}
	}
	return nil
}

func nextPackage(t *testing.T, kind string) string {
	t.Helper()
	path := filepath.Join(nextFolder, "agent."+kind)
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}
