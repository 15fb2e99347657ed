package rotation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
)

// state is what a reconciliation leaves behind.
type state struct {
	snapshot
	doc       keystore.Document // in force
	beacon    ledger.Beacon     // of that document
	published bool              // by this reconciliation
	announced bool              // by this reconciliation
}

// errForeign says that the keyset belongs to another key-pair secret.
var errForeign = errors.New("the keyset secret serves another key-pair secret")

// reconcile makes the keyset what the labels of the key-pair secret ask for, and the ledger's beacon what
// the keyset is. It is what every entry point does first. It may run at the same time as another one: of
// two that publish, the second finds that it was not the first, and computes again.
func (r *Rotator) reconcile(ctx context.Context, secretARN string) (state, error) {
	const tries = 8
	for i := range tries {
		s, err := r.reconcileOnce(ctx, secretARN)
		if !errors.Is(err, keystore.ErrConflict) || i == tries-1 {
			return s, err
		}
		if err := sleep(ctx, rand.N(50*time.Millisecond<<i)); err != nil {
			return state{}, err
		}
	}
	return state{}, keystore.ErrConflict // not reached
}

// publishTime bounds the time between reading the labels and publishing what follows from them. The swap
// notices another publication in between but not a label that has moved; the keys that it leaves out of use
// have an end that counts from the reading.
const publishTime = 30 * time.Second

func (r *Rotator) reconcileOnce(ctx context.Context, secretARN string) (state, error) {
	var s state
	doc, err := r.Keysets.Fetch(ctx)
	if err != nil && !errors.Is(err, keyset.ErrEmpty) {
		return s, err
	}
	if err == nil && doc.Keyset.SecretARN != secretARN {
		return s, fmt.Errorf("%w: generation %d is for %q, not %q", errForeign, doc.Keyset.Generation, doc.Keyset.SecretARN, secretARN)
	}
	if s.snapshot, err = r.snapshot(ctx, secretARN, doc.Keyset); err != nil {
		return s, err
	}
	limited, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	leftover := r.dropLeftover(limited, s.snapshot)
	if err := r.publish(limited, &s, doc); err != nil {
		return s, errors.Join(err, leftover)
	}
	err = r.signal(ctx, &s)
	return s, errors.Join(err, leftover, s.damaged)
}

// publish puts what is desired into force, or leaves what is there. The generation goes on from the
// largest that anything remembers, so that workers take the document for newer even if the secret was wiped.
func (r *Rotator) publish(ctx context.Context, s *state, doc keystore.Document) error {
	s.doc = doc
	next := desired(s.facts)
	if len(next.Keys) == 0 || keyset.SameContent(next, doc.Keyset) {
		return nil
	}
	highest, err := r.highestGeneration(ctx, s.secret.arn)
	if err != nil {
		return err
	}
	next.Generation = max(highest, doc.Keyset.Generation) + 1
	if s.doc, err = r.Keysets.Publish(ctx, doc, next); err != nil {
		return err
	}
	s.published = true
	r.Log.Info("published keyset", logging.SecretID(s.secret.arn), logging.Generation(next.Generation),
		logging.VersionID(s.doc.VersionID), zap.Array("keys", keyFields(next.Keys)), zap.Strings("newly_retired", newlyRetired(doc.Keyset, next)))
	return nil
}

func (r *Rotator) highestGeneration(ctx context.Context, secretARN string) (int64, error) {
	beacon, _, err := r.Ledger.BeaconConsistent(ctx, secretARN)
	if err != nil {
		return 0, err
	}
	reports, err := r.Ledger.Reports(ctx, secretARN, 1)
	if err != nil {
		return 0, err
	}
	highest := beacon.Generation
	for _, report := range reports {
		highest = max(highest, report.Generation)
	}
	return highest, nil
}

// dropLeftover takes AWSPENDING off the version that is AWSCURRENT: what a rotation that died after its
// last important act did not get to. Secrets Manager itself would go on without, but other readers of
// labels would not.
func (r *Rotator) dropLeftover(ctx context.Context, snap snapshot) error {
	s := snap.secret
	version := s.holder(labelPending)
	if version == "" || version != s.holder(labelCurrent) {
		return nil
	}
	_, err := r.Secrets.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &s.arn, VersionStage: aws.String(labelPending), RemoveFromVersionId: &version,
	})
	if err == nil {
		r.changed("dropped label", labelChange{
			secretARN: s.arn, label: labelPending, from: version, fingerprint: snap.current.Fingerprint(), generation: snap.facts.published.Generation,
		})
		return nil
	}
	// The answer of an earlier try may have been lost, and another invocation may have come first.
	if now, again := r.describe(ctx, s.arn); again == nil && now.holder(labelPending) != version {
		return nil
	}
	return fmt.Errorf("dropping %s from version %q: %w", labelPending, version, err)
}
