package state

import "fmt"

const statusFile = "status.json"

// WriteStatus replaces the status in dir.
func WriteStatus(dir string, status any) error {
	if err := replace(dir, statusFile, status); err != nil {
		return fmt.Errorf("writing status: %w", err)
	}
	return nil
}

// ReadStatus decodes the status in dir. fs.ErrNotExist says that no agent has finished a pass there.
func ReadStatus(dir string, status any) error {
	if err := read(dir, statusFile, status); err != nil {
		return fmt.Errorf("reading status: %w", err)
	}
	return nil
}
