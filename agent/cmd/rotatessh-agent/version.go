package main

import (
	"context"
	"fmt"

	"github.com/rotatessh/rotatessh/common/buildinfo"
)

// version prints the version.
func version(_ context.Context, opts options) error {
	_, err := fmt.Fprintln(opts.stdout, "rotatessh-agent", buildinfo.Version())
	return err
}
