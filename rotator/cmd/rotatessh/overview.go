package main

import (
	"context"
	"errors"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/report"
)

// defaultRecords is how many of the rotator's records status looks at: those of the last few rotations.
const defaultRecords = 20

// overview reads everything and judges it. It reads no private key.
func (b *backend) overview(ctx context.Context, user string, records int32) (report.Report, error) {
	secret, err := b.describe(ctx)
	if err != nil {
		return report.Report{}, err
	}
	if err := b.addAges(ctx, &secret); err != nil {
		return report.Report{}, err
	}
	f, err := b.facts(ctx, secret, user)
	if err != nil {
		return report.Report{}, err
	}
	if f.Records, err = b.ledger.Reports(ctx, secret.ARN, records); err != nil {
		return report.Report{}, err
	}
	f.Now = b.now()
	return report.New(f), nil
}

// facts are the keyset in force, the workers, what they say about it, and who is waived.
func (b *backend) facts(ctx context.Context, secret secretInfo, user string) (report.Facts, error) {
	f := report.Facts{Secret: secret.Secret, Published: true, User: user}
	var err error
	if f.Document, err = b.keysets.Fetch(ctx); errors.Is(err, keyset.ErrEmpty) {
		f.Published, err = false, nil
	}
	if err != nil {
		return f, err
	}
	if f.Beacon, _, err = b.ledger.Beacon(ctx, secret.ARN); err != nil {
		return f, err
	}
	if f.Waivers, err = b.ledger.Waivers(ctx, secret.ARN, b.now()); err != nil {
		return f, err
	}
	if f.Workers, err = b.fleet.Workers(ctx); err != nil {
		return f, err
	}
	f.Inventory, f.Notes = b.fleet.source, b.fleet.notes()
	f.Acks, err = b.ledger.Acks(ctx, secret.ARN, fleet.ARNs(f.Workers), b.now())
	f.Now = b.now()
	return f, err
}
