package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

// leaseTime is how long nobody else may move labels. What is done under the lease stops trying well before,
// so that it cannot take effect after the lease has ended.
const leaseTime = 30 * time.Second

// leasePoll is the wait between two tries to take a lease that somebody else holds.
const leasePoll = 500 * time.Millisecond

// finishSecret makes the new key the current one, if the fleet is ready for it at this very time: nothing
// that an earlier step has found out counts. It then publishes that the old key is to be retired.
//
// If it dies after AWSCURRENT has moved, that remainder is done by whichever comes first: this rotation's
// next attempt, the event that Secrets Manager sends when AWSCURRENT moves, or the schedule.
func (r *Rotator) finishSecret(ctx context.Context, req request) error {
	ready, err := r.promoteWhenReady(ctx, req)
	if err != nil {
		return err
	}
	s, err := r.reconcile(ctx, req.secretARN)
	if err != nil {
		return fmt.Errorf("the new key is current, publishing that the old one retires: %w", err)
	}
	r.announceAgain(ctx, s)
	r.reportFinished(ctx, req, s, ready)
	return nil
}

// promoteWhenReady asks the fleet and moves AWSCURRENT, again if something else has changed in between.
func (r *Rotator) promoteWhenReady(ctx context.Context, req request) (fleet.Readiness, error) {
	const tries = 3
	var s state
	var ready fleet.Readiness
	var err error
	for range tries {
		s, ready, err = r.untilUnchanged(ctx, req)
		if err == nil {
			r.nameGivenUp(req, s, ready)
			err = r.promote(ctx, req, s)
		}
		if !errors.Is(err, errChanged) {
			break
		}
	}
	if err == nil {
		return ready, nil
	}
	if now, again := r.describe(ctx, req.secretARN); again == nil && now.holder(labelCurrent) == req.token {
		return ready, nil // another invocation came first, or only an answer was lost
	}
	report := readinessReport(ready)
	report.Message = err.Error()
	r.report(ctx, req, s, report)
	return ready, err
}

// promote moves AWSCURRENT to the token, under the lease and if nothing has changed since the gate.
func (r *Rotator) promote(ctx context.Context, req request, s state) error {
	from := s.secret.holder(labelCurrent)
	return r.underLease(ctx, leaseOf(req.secretARN, req.token), from, func(limited context.Context) error {
		if err := r.unchanged(limited, req, s); err != nil {
			return err
		}
		moveErr := r.moveCurrent(limited, req, from)
		return r.moved(ctx, req, s, moveErr)
	})
}

// leaseOf is a rotation's lease. The rotation owns it and not one invocation of it, so that a repeated one
// need not wait for the lease of one that has died.
func leaseOf(secretARN, token string) ledger.Lease {
	return ledger.Lease{SecretARN: secretARN, Owner: "rotation " + token, Purpose: "promoting"}
}

// takeLease waits for as long as the function may. The lease of the rotation that led to the current version
// is of no more use, and is taken away from whoever died with it.
func (r *Rotator) takeLease(ctx context.Context, lease ledger.Lease, current string) error {
	deadline := r.giveUp(ctx)
	for {
		now, err := r.now()
		if err != nil {
			return err
		}
		err = r.Ledger.AcquireLease(ctx, lease, now, r.leaseTime)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ledger.ErrLeaseHeld) || time.Until(deadline) < leasePoll {
			return fmt.Errorf("taking the lease: %w", err)
		}
		if err := r.Ledger.ReleaseLease(ctx, leaseOf(lease.SecretARN, current)); err != nil {
			return err
		}
		if err := sleep(ctx, leasePoll); err != nil {
			return err
		}
	}
}

func (r *Rotator) release(ctx context.Context, lease ledger.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := r.Ledger.ReleaseLease(ctx, lease); err != nil {
		r.Log.Warn("lease was not released and will expire", logging.SecretID(lease.SecretARN), zap.Error(err))
	}
}

// unchanged makes sure that the gate's answer still is one to the present question.
func (r *Rotator) unchanged(ctx context.Context, req request, s state) error {
	doc, err := r.Keysets.Fetch(ctx)
	if err != nil {
		return err
	}
	now, err := r.describe(ctx, req.secretARN)
	if err != nil {
		return err
	}
	same := doc.VersionID == s.doc.VersionID && now.holder(labelPending) == req.token &&
		now.holder(labelCurrent) == s.secret.holder(labelCurrent)
	if !same {
		return errChanged
	}
	return nil
}

// moveCurrent moves AWSCURRENT from exactly the version that was current when the fleet was asked.
func (r *Rotator) moveCurrent(ctx context.Context, req request, from string) error {
	in := &secretsmanager.UpdateSecretVersionStageInput{SecretId: &req.secretARN, VersionStage: aws.String(labelCurrent), MoveToVersionId: &req.token}
	if from != "" {
		in.RemoveFromVersionId = &from
	}
	_, err := r.Secrets.UpdateSecretVersionStage(ctx, in)
	return err
}

// moved looks whether AWSCURRENT has arrived. What the call answered is not what counts: an answer may be
// lost, and its repetition be refused because the label has already gone.
func (r *Rotator) moved(ctx context.Context, req request, s state, moveErr error) error {
	err := r.settle(ctx, func() (bool, error) {
		now, err := r.describe(ctx, req.secretARN)
		if err != nil {
			return false, err
		}
		if current := now.holder(labelCurrent); current != req.token {
			return true, fmt.Errorf("%s is still on version %q", labelCurrent, current)
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("moving %s to version %q: %w", labelCurrent, req.token, errors.Join(moveErr, err))
	}
	r.changed("moved label", labelChange{
		secretARN: req.secretARN, label: labelCurrent, to: req.token, from: s.secret.holder(labelCurrent),
		fingerprint: s.pending.Fingerprint(), generation: s.doc.Keyset.Generation, revokes: s.pending.Revoked(),
	})
	return nil
}
