package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/rotatessh/rotatessh/agent/internal/config"
)

// load reads the configuration for every command alike.
func load(opts options) (config.Config, error) {
	cfg, err := config.Load(opts.config)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cfg, &hinted{err, fmt.Sprintf("create %s from the commented example of the package, or name another file with --config", opts.config)}
	case errors.Is(err, fs.ErrPermission):
		return cfg, &hinted{err, "run as root, or name another file with --config"}
	case err != nil:
		return cfg, &hinted{err, "the commented example of the package explains every key"}
	}
	return cfg, nil
}
