package rotation

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// revoke replaces a key that somebody may have stolen. It is a rotation to a new pair, in the same order as
// every other one: workers accept the new key before AWSCURRENT moves. What differs is its end. The new
// version lists the keys that it revokes, so that from the moment at which AWSCURRENT marks it, whoever
// reconciles next retires them at once: this run, a repeated one, the label event or the schedule. There is
// no state in which the switch has happened and the revocation is not known.
//
// It revokes every key but the new one: whoever got at the current key may have got at a pending one, and at
// one that is still retiring. A rotation that is pending is given up. A controller that goes on with what it
// has read before is locked out, which is the purpose.
func (r *Rotator) revoke(ctx context.Context, req operator.Request) (outcome, error) {
	if err := r.beginRevocation(ctx, req); err != nil {
		return outcome{}, err
	}
	out, err := r.carryOut(ctx, req, "")
	if err != nil {
		return out, err
	}
	out.message = fmt.Sprintf("version %s is current, and every key before it is revoked%s", req.VersionID, r.givenUp(ctx, out.state))
	return out, nil
}

// beginRevocation puts AWSPENDING on a version with a new pair that revokes all that is published, unless an
// earlier run has.
func (r *Rotator) beginRevocation(ctx context.Context, req operator.Request) error {
	if _, err := r.reconcile(ctx, req.SecretARN); err != nil { // which drops an AWSPENDING that has been left over
		return err
	}
	before, err := r.settled(ctx, req.SecretARN, func(s secret) bool { _, err := s.mayRevoke(req); return err == nil })
	if err != nil {
		return err
	}
	begun, err := before.mayRevoke(req)
	if err != nil || before.holder(labelCurrent) == req.VersionID {
		return err
	}
	if begun {
		pair, err := r.pair(ctx, req.SecretARN, req.VersionID, labelPending)
		return errors.Join(err, r.revokes(ctx, req, pair))
	}
	lease := ledger.Lease{SecretARN: req.SecretARN, Owner: "revoke " + req.VersionID, Purpose: "revoking"}
	return r.underLease(ctx, lease, req.CurrentVersionID, func(limited context.Context) error {
		s, err := r.describe(limited, req.SecretARN)
		if err != nil {
			return err
		}
		if begun, err := s.mayRevoke(req); begun || err != nil {
			return err
		}
		if other := s.pending(); other != "" {
			// Secrets Manager abandons a rotation in whose course somebody stores a version, and moves AWSPENDING
			// as it sees fit. One that is given up before is none.
			given := req
			given.VersionID = other
			if _, err := r.dropPending(ctx, limited, given); err != nil {
				return err
			}
		}
		return r.storeRevocation(ctx, limited, req)
	})
}

// storeRevocation makes the new pair, not past limited.
func (r *Rotator) storeRevocation(ctx, limited context.Context, req operator.Request) error {
	doc, err := r.Keysets.Fetch(limited)
	if errors.Is(err, keyset.ErrEmpty) {
		return errors.New("there is no key yet that could be revoked: a rotation makes the first one")
	}
	if err != nil {
		return err
	}
	step := request{step: "createSecret", secretARN: req.SecretARN, token: req.VersionID, asked: &req}
	pair, err := r.newPair(limited, step)
	if err != nil {
		return err
	}
	if pair, err = pair.Revoking(fingerprints(doc.Keyset)); err != nil {
		return err
	}
	stored, err := r.store(limited, step, pair)
	if errors.Is(err, errAbsent) { // it had a pair before, and has lost the label
		return fmt.Errorf("version %q has been given up, ask for another one: %w", req.VersionID, err)
	}
	if err != nil {
		return err
	}
	r.changed("attached label", labelChange{
		secretARN: req.SecretARN, label: labelPending, to: req.VersionID, fingerprint: stored.Fingerprint(),
		generation: doc.Keyset.Generation, revokes: stored.Revoked(),
	})
	return r.revokes(ctx, req, stored)
}

// fingerprints are those of every key that workers accept, the current one first.
func fingerprints(k keyset.Keyset) []string {
	var all []string
	for _, key := range k.Keys {
		all = append(all, key.PublicKey.Fingerprint())
	}
	return all
}

// revokes makes sure that the version that is to become current is one that revokes the one that is.
func (r *Rotator) revokes(ctx context.Context, req operator.Request, pending keypair.Pair) error {
	current, err := r.currentPair(ctx, req.SecretARN)
	if err == nil && !pending.Revokes(current.Fingerprint()) {
		err = fmt.Errorf("version %q does not revoke the current key %s", req.VersionID, current.Fingerprint())
	}
	return err
}

// mayRevoke compares the labels with what the operator saw. begun means that AWSPENDING or AWSCURRENT are on
// the version already.
func (s secret) mayRevoke(req operator.Request) (begun bool, err error) {
	switch current := s.holder(labelCurrent); {
	case current == req.VersionID, current == req.CurrentVersionID && s.pending() == req.VersionID:
		return true, nil
	case current != req.CurrentVersionID:
		return false, fmt.Errorf("%s is on version %q instead of %q: look again", labelCurrent, current, req.CurrentVersionID)
	case s.replicas > 0:
		return false, fmt.Errorf("secret %q is replicated to %s; workers there could not follow", s.arn, plural.Of(s.replicas, "region"))
	}
	return false, nil
}

// givenUp says who was left behind by the switch to the current version, if its report can be found.
func (r *Rotator) givenUp(ctx context.Context, s state) string {
	report, found, err := r.findReport(ctx, s, "finishSecret")
	lost := append(report.Laggards, report.Waived...)
	if err != nil || !found || len(lost) == 0 {
		return ""
	}
	const named = 10
	var names []string
	for _, l := range lost[:min(named, len(lost))] {
		names = append(names, ledger.InstanceID(l.Worker))
	}
	if more := len(lost) - named; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return "; given up: " + strings.Join(names, ", ")
}
