package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile makes what write writes the content of path, with mode 0600: a report names hosts. A file that is
// there is replaced as a whole or not at all. Anything else that is there, a link too, is refused.
func writeFile(path string, write func(io.Writer) error) (err error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return withHint(fmt.Errorf("%q is not a regular file and is left alone", path), "name a file that does not exist yet")
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".rotatessh-report-*") // of mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	if err := errors.Join(write(temp), temp.Sync(), temp.Close()); err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	return os.Rename(temp.Name(), path)
}
