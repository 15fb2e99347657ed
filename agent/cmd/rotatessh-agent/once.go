package main

import (
	"context"
	"errors"

	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/state"
)

// once does one pass and prints the state it leaves. The acknowledgement of that pass is written as by run.
func once(ctx context.Context, opts options) error {
	cfg, err := load(opts)
	if err != nil {
		return err
	}
	w, err := survey(ctx, cfg, opts.stderr)
	if err != nil {
		return err
	}
	release, err := state.Lock(cfg.StateDir)
	if err != nil {
		return err
	}
	defer release()
	report := &reporter{dir: cfg.StateDir, log: w.log}
	syncer, err := w.syncer(w.ledger(), report, keysync.Config{})
	if err != nil {
		return err
	}
	err = syncer.Pass(ctx)
	return errors.Join(err, printStatus(opts.stdout, report.last))
}
