package demo

import (
	"fmt"
	"os"
	"path/filepath"
)

// Binaries are the absolute paths of the programs that the fleet runs.
type Binaries struct {
	Rotatessh string // runs the guardian
	Agent     string
	Bootstrap string
}

// MissingError says which program is not there.
type MissingError struct{ Path string }

func (e *MissingError) Error() string { return fmt.Sprintf("there is no program %q", e.Path) }

// FindBinaries looks for the programs in one folder. The error is a *MissingError if one is not there.
func FindBinaries(folder string) (Binaries, error) {
	b := Binaries{
		Rotatessh: filepath.Join(folder, "rotatessh"),
		Agent:     filepath.Join(folder, "rotatessh-agent"),
		Bootstrap: filepath.Join(folder, "bootstrap"),
	}
	for _, path := range []string{b.Rotatessh, b.Agent, b.Bootstrap} {
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			return Binaries{}, &MissingError{Path: path}
		}
	}
	return b, nil
}
