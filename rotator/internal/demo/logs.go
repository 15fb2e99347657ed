package demo

import (
	"errors"
	"os"
	"slices"
)

// maxTails bounds what a failure shows of a large fleet.
const maxTails = 6

// withLogs adds the ends of the logs that may explain err, which may be nil: the rotator's, and those of the
// workers that wrote to them last.
func (f *Fleet) withLogs(err error) error {
	var has *LoggedError
	if err == nil || errors.As(err, &has) || f.folder == nil {
		return err
	}
	return &LoggedError{Err: err, Logs: f.tails()}
}

func (f *Fleet) tails() []Tail {
	paths := []string{f.rotatorLog()}
	for _, w := range f.Workers() {
		paths = append(paths, w.file("agent.log"), w.file(sshdLog))
	}
	var tails []Tail
	for _, path := range paths[:min(maxTails, len(paths))] {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			tails = append(tails, tail(path))
		}
	}
	return slices.Clip(tails)
}
