package rotation

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// resume runs the steps of the rotation that AWSPENDING marks, which do again only what is not done yet.
// Secrets Manager would do the same, at a time of its own choosing; it refuses to be told to.
func (r *Rotator) resume(ctx context.Context, req operator.Request) (outcome, error) {
	return r.carryOut(ctx, req, fmt.Sprintf("the rotation to version %s is complete", req.VersionID))
}

// rollback makes AWSPREVIOUS a rotation's target: with AWSPENDING on that version, everything else is what
// a rotation does, in the same order and through the same gate. The workers accept both keys before
// AWSCURRENT moves, "resume" and "abort" work on it, and what dies on the way is a rotation to be resumed.
func (r *Rotator) rollback(ctx context.Context, req operator.Request) (outcome, error) {
	if err := r.beginRollback(ctx, req); err != nil {
		return outcome{}, err
	}
	return r.carryOut(ctx, req, fmt.Sprintf("version %s is current again", req.VersionID))
}

// carryOut runs all steps for the request's version. Switched off rotation does not matter: the operator asks.
func (r *Rotator) carryOut(ctx context.Context, req operator.Request, message string) (outcome, error) {
	out := outcome{message: message}
	s, err := r.describe(ctx, req.SecretARN)
	if err != nil {
		return out, err
	}
	out.already = s.holder(labelCurrent) == req.VersionID
	for _, step := range []string{"createSecret", "setSecret", "testSecret", "finishSecret"} {
		err := r.run(ctx, request{step: step, secretARN: req.SecretARN, token: req.VersionID, asked: &req})
		if err != nil {
			return out, err
		}
		if out.already {
			break // the one step has reconciled, as each of the others would
		}
	}
	out.state, err = r.reconcile(ctx, req.SecretARN)
	return out, err
}

// beginRollback puts AWSPENDING on the version to go back to, unless an earlier run has.
func (r *Rotator) beginRollback(ctx context.Context, req operator.Request) error {
	if _, err := r.reconcile(ctx, req.SecretARN); err != nil { // which drops an AWSPENDING that has been left over
		return err
	}
	before, err := r.settled(ctx, req.SecretARN, func(s secret) bool { _, err := s.mayRollBack(req); return err == nil })
	if err != nil {
		return err
	}
	if begun, err := before.mayRollBack(req); begun || err != nil {
		return err
	}
	lease := ledger.Lease{SecretARN: req.SecretARN, Owner: "rollback " + req.VersionID, Purpose: "rolling-back"}
	return r.underLease(ctx, lease, req.CurrentVersionID, func(limited context.Context) error {
		s, err := r.describe(limited, req.SecretARN)
		if err != nil {
			return err
		}
		if begun, err := s.mayRollBack(req); begun || err != nil {
			return err
		}
		previous, err := r.worthGoingBack(limited, req)
		if err != nil {
			return err
		}
		return r.markPending(ctx, limited, req, previous.Fingerprint())
	})
}

func (r *Rotator) worthGoingBack(ctx context.Context, req operator.Request) (keypair.Pair, error) {
	previous, err := r.pair(ctx, req.SecretARN, req.VersionID, labelPrevious)
	if err != nil {
		return keypair.Pair{}, fmt.Errorf("there is no key to go back to: %w", err)
	}
	current, err := r.currentPair(ctx, req.SecretARN)
	switch readable := err == nil; { // it need not be to be left
	case readable && current.PublicKey() == previous.PublicKey():
		return keypair.Pair{}, fmt.Errorf("version %q holds the current key, so that nothing would change", req.VersionID)
	case readable && current.Revokes(previous.Fingerprint()):
		return keypair.Pair{}, fmt.Errorf("the key %s of version %q %w", previous.Fingerprint(), req.VersionID, errRevoked)
	}
	return previous, nil
}

// mayRollBack compares the labels with what the operator saw. begun means that AWSPENDING or AWSCURRENT are
// on the version already.
func (s secret) mayRollBack(req operator.Request) (begun bool, err error) {
	current, pending := s.holder(labelCurrent), s.pending()
	switch {
	case current == req.VersionID:
		return true, nil
	case current != req.CurrentVersionID:
		return false, fmt.Errorf("%s is on version %q instead of %q: look again", labelCurrent, current, req.CurrentVersionID)
	case pending == req.VersionID:
		return true, nil
	case pending != "":
		return false, fmt.Errorf("a rotation to version %q is pending: finish it with \"resume\" or give it up with \"abort\" first", pending)
	case s.holder(labelPrevious) != req.VersionID:
		return false, fmt.Errorf("%s is on version %q instead of %q: look again", labelPrevious, s.holder(labelPrevious), req.VersionID)
	case s.replicas > 0:
		return false, fmt.Errorf("secret %q is replicated to %s; workers there could not follow", s.arn, plural.Of(s.replicas, "region"))
	}
	return false, nil
}

// markPending attaches AWSPENDING, not past limited. Secrets Manager refuses if any other version has got it meanwhile.
func (r *Rotator) markPending(ctx, limited context.Context, req operator.Request, fingerprint string) error {
	_, markErr := r.Secrets.UpdateSecretVersionStage(limited, &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &req.SecretARN, VersionStage: aws.String(labelPending), MoveToVersionId: &req.VersionID,
	})
	s, err := r.settled(ctx, req.SecretARN, func(s secret) bool { return s.holder(labelPending) == req.VersionID })
	if err == nil && s.holder(labelPending) != req.VersionID {
		err = fmt.Errorf("%s is on version %q", labelPending, s.holder(labelPending))
	}
	if err != nil {
		return fmt.Errorf("putting %s on version %q: %w", labelPending, req.VersionID, errors.Join(markErr, err))
	}
	_, generation := r.named(ctx, req.VersionID)
	r.changed("attached label", labelChange{
		secretARN: req.SecretARN, label: labelPending, to: req.VersionID, fingerprint: fingerprint, generation: generation,
	})
	return nil
}
