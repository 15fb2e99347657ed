package demo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws"
)

// commandTools are the programs that a worker's machine has for the scripts which Systems Manager sends. There
// is no agent among them: this machine may have one, and a worker's own is not to be found by its name.
func commandTools() []string {
	return strings.Fields("awk base64 cat chmod cmp cp find getent head id ls mkdir mktemp mv rm runuser sed sh su sync tail tr wc")
}

// manage registers a worker with Systems Manager: scripts that are sent to it run on this machine, and find the
// worker's sshd by the name of sshd.
func (f *Fleet) manage(w *Worker) error {
	dir := w.file("programs")
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	for _, tool := range commandTools() {
		path, err := exec.LookPath(tool)
		if err != nil {
			continue // the scripts say what they lack
		}
		if err := os.Symlink(path, filepath.Join(dir, tool)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s -f %s \"$@\"\n", quoted(f.sshd.path), quoted(w.file("sshd_config")))
	if err := os.WriteFile(filepath.Join(dir, "sshd"), []byte(script), 0o700); err != nil { //nolint:gosec // it is a program
		return err
	}
	env := append(baseEnv(), "PATH="+dir)
	return f.server.ManageInstance(w.ID, localaws.Shell{Dir: w.home(), Env: env}.Run)
}

// quoted is s as one word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
