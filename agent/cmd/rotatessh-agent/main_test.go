package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
)

// agentName is the name under which the test program is the agent: tests start it as a process of its own, with the race detector
// if they have it.
const agentName = "rotatessh-agent"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == agentName {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	sshdtest.Main(m)
}

// agentPath makes the agent a command in a folder of the test's own.
func agentPath(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), agentName)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}
