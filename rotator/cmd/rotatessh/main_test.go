package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rotatessh": main, "older-rotator": olderRotator})
}

// TestScripts runs testdata/*.txtar. Those whose names begin with "aws" get a whole deployment of their own.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts, %v", err)
	}
	bootstrap := build(t, "../bootstrap")
	for _, script := range scripts {
		params := testscript.Params{Files: []string{script}, RequireExplicitExec: true, Setup: isolate}
		name := strings.TrimSuffix(filepath.Base(script), ".txtar")
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "aws") {
				w := newWorld(t, bootstrap)
				params.Setup, params.Cmds = w.setup, w.commands()
			}
			testscript.Run(t, params)
		})
	}
}

// isolate keeps the machine's AWS configuration out of a script.
func isolate(env *testscript.Env) error {
	env.Vars = append(env.Vars, "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_EC2_METADATA_DISABLED=true")
	return nil
}
