package main

import (
	"context"

	"github.com/rotatessh/rotatessh/agent/internal/account"
	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/agent/internal/userfile"
	"github.com/rotatessh/rotatessh/agent/internal/wake"
	"github.com/rotatessh/rotatessh/common/awstime"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// Here both sides of keysync's interfaces are in sight.
var (
	_ keysync.Source    = (*keystore.Reader)(nil)
	_ keysync.Recorder  = (*ledger.Client)(nil)
	_ keysync.Memory    = (*state.Memory)(nil)
	_ keysync.Resets    = (*state.Memory)(nil)
	_ keysync.Clock     = (*awstime.Clock)(nil)
	_ keysync.Bell      = (*wake.Bell)(nil)
	_ keysync.Accounts  = accounts{}
	_ keysync.Files     = files{}
	_ keysync.Verifier  = (*verifier)(nil)
	_ keysync.Reporter  = (*reporter)(nil)
	_ wake.BeaconReader = (*ledger.Client)(nil)
)

// accounts asks the name service switch.
type accounts struct{}

func (accounts) Lookup(ctx context.Context, name string) (account.Account, error) {
	return account.Lookup(ctx, name)
}

// files is userfile.Writer in keysync's words.
type files struct {
	w       *userfile.Writer
	written func() // is called for each file rewritten
}

func (f files) Rewrite(ctx context.Context, t keysync.Target, change func([]byte) ([]byte, error)) ([]byte, bool, error) {
	out, err := f.w.Rewrite(ctx, userfile.Target(t), change)
	if out.Written {
		f.written()
	}
	return out.Bytes, out.Written, err
}

func (f files) Read(ctx context.Context, t keysync.Target) ([]byte, error) {
	return f.w.Read(ctx, userfile.Target(t))
}
