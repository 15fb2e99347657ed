package rotation

import (
	"context"
	"errors"
	"fmt"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// errNoPending says that the token's version holds no key pair that could be rotated to.
var errNoPending = errors.New("there is no new key pair")

// errRevoked says that a key is not to be used any more.
var errRevoked = errors.New("has been revoked")

// setSecret publishes the new public key to the fleet.
func (r *Rotator) setSecret(ctx context.Context, req request) error {
	s, err := r.reconcileFor(ctx, req)
	if err != nil {
		return err
	}
	r.announceAgain(ctx, s)
	r.report(ctx, req, s, ledger.Report{Passed: true, Message: "the pending key is published"})
	return nil
}

// reconcileFor reconciles until the token's key is in the keyset. A pending version whose value cannot be
// seen yet looks like one that has none, hence the patience.
func (r *Rotator) reconcileFor(ctx context.Context, req request) (s state, err error) {
	err = r.settle(ctx, func() (bool, error) {
		if s, err = r.reconcile(ctx, req.secretARN); err != nil {
			return false, err
		}
		err = s.holds(req.token)
		return errors.Is(err, errNoPending), err
	})
	return s, err
}

// holds reports as an error what keeps the token's key pair from being used next.
func (s state) holds(token string) error {
	if s.facts.pending.versionID != token {
		return fmt.Errorf("version %q does not carry %s: nothing was written there yet, or the rotation was given up: %w", token, labelPending, errNoPending)
	}
	if s.pending.IsZero() {
		return fmt.Errorf("%s version %q holds no key pair: %w", labelPending, token, errNoPending)
	}
	if s.pending.PublicKey() == s.current.PublicKey() {
		return fmt.Errorf("%s version %q holds a copy of the current key pair: %w", labelPending, token, errNoPending)
	}
	if s.current.Revokes(s.pending.Fingerprint()) {
		return fmt.Errorf("%s version %q holds %s, which %w", labelPending, token, s.pending.Fingerprint(), errRevoked)
	}
	if !accepts(s.doc.Keyset, s.pending.PublicKey()) {
		return fmt.Errorf("keyset generation %d does not hold pending key %s", s.doc.Keyset.Generation, s.pending.Fingerprint())
	}
	return nil
}

// accepts reports whether k tells workers to accept key without an end.
func accepts(k keyset.Keyset, key keyset.PublicKey) bool {
	for _, have := range k.Keys {
		if have.PublicKey == key && have.State != keyset.Retiring {
			return true
		}
	}
	return false
}
