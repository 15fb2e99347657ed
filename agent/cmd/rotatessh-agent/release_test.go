package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/keyset"
)

// maxProgram is the size that the program as released may have.
const maxProgram = 15 << 20

func TestReleasedProgram(t *testing.T) {
	golang, err := exec.LookPath("go")
	if err != nil {
		t.Skip("not run: no go command")
	}
	path := filepath.Join(t.TempDir(), agentName)
	build := exec.Command(golang, "build", "-tags", "nethttpomithttp2", "-trimpath", "-ldflags", "-s -w -X github.com/rotatessh/rotatessh/common/buildinfo.version=v1.2.3", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MiB", float64(info.Size())/(1<<20))
	if info.Size() > maxProgram {
		t.Errorf("the program has %d bytes, more than %d", info.Size(), maxProgram)
	}
	out, err := exec.Command(path, "version").Output()
	if err != nil || string(out) != "rotatessh-agent v1.2.3\n" {
		t.Errorf("version: %q, %v", out, err)
	}
	c := newCluster(t)
	w := c.newWorker(t)
	w.agent = path
	pair := sshdtest.NewPair(t)
	c.publish(t, keyset.Keyset{Generation: 1, Keys: []keyset.Key{key(keyset.Current, pair, 1)}})
	w.sshd.Start(t)
	p := w.start(t)
	if a := c.ack(t, w.instance.ARN, accepted(1, pair)); a.AgentVersion != "v1.2.3" {
		t.Errorf("acknowledged as version %q", a.AgentVersion)
	}
	if log := p.log(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
		t.Error("the program has failed")
	}
}
