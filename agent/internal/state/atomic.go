// Package state keeps the little that the agent remembers between two runs: for each keyset the highest generation it has seen,
// and a status for operators to look at. Both are files in one folder that belongs to the agent.
//
// A file is replaced whole: after a crash it holds the old or the new content. Nothing here is secret.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxFile bounds what is read back.
const maxFile = 1 << 20

// replace makes value's JSON the content of dir/name: temp, fsync, rename, fsync of the folder. The folder is made when missing.
func replace(dir, name string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // holds no secret, and status is for everybody
		return err
	}
	// One name is enough: the folder is nobody else's, and one agent at a time works with it. What a killed one left is overwritten.
	temp := filepath.Join(dir, "."+name+".tmp")
	if err := write(temp, append(data, '\n')); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

func write(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o644) //nolint:gosec // as above
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// read decodes dir/name into value. A missing file is fs.ErrNotExist.
func read(dir, name string, value any) error {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, value); err != nil {
		return fmt.Errorf("decoding %q: %w", f.Name(), err)
	}
	return nil
}
