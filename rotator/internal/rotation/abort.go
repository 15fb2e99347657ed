package rotation

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

// errTooLate says that AWSCURRENT has reached the version that was to be given up.
var errTooLate = errors.New("its key is the current one by now")

// abort gives a rotation up: it takes AWSPENDING off its version, after which no step of that rotation gets
// past its first question. Workers go on accepting the key until its time as a retiring one is over.
func (r *Rotator) abort(ctx context.Context, req operator.Request) (outcome, error) {
	unsound := r.sound(ctx, req.SecretARN)
	if unsound != nil && !req.Force {
		return outcome{}, unsound
	}
	here := func(s secret) bool { return s.holder(labelPending) == req.VersionID }
	before, err := r.settled(ctx, req.SecretARN, here)
	if err != nil {
		return outcome{}, err
	}
	out := outcome{message: fmt.Sprintf("the rotation to version %s is given up", req.VersionID)}
	lease := ledger.Lease{SecretARN: req.SecretARN, Owner: "abort " + req.VersionID, Purpose: "aborting"}
	err = r.underLease(ctx, lease, before.holder(labelCurrent), func(limited context.Context) error {
		if out.already, err = r.dropPending(ctx, limited, req); err != nil {
			return err
		}
		// Still under the lease: a step that asked the fleet before finds another keyset than it asked about.
		out.state, err = r.reconcile(ctx, req.SecretARN)
		if err != nil && unsound != nil { // there is no key that could be published
			out.message += fmt.Sprintf("; it was forced, and the keyset stays as it is: %v", err)
			out.secret, err = r.describe(ctx, req.SecretARN)
		}
		if err == nil && here(out.secret) {
			err = fmt.Errorf("%s has come back to version %q: ask again", labelPending, req.VersionID)
		}
		return err
	})
	if err != nil {
		return outcome{}, err
	}
	r.announceAgain(ctx, out.state)
	return out, nil
}

// dropPending takes AWSPENDING off the request's version, not past limited, and then looks whether it has
// gone. already means that it was not there any more.
func (r *Rotator) dropPending(ctx, limited context.Context, req operator.Request) (already bool, err error) {
	s, err := r.describe(limited, req.SecretARN)
	if err != nil {
		return false, err
	}
	switch {
	case s.holder(labelCurrent) == req.VersionID:
		return false, fmt.Errorf("version %q cannot be given up: %w; \"rollback\" goes back", req.VersionID, errTooLate)
	case s.holder(labelPending) != req.VersionID:
		return true, nil
	}
	fingerprint, generation := r.named(limited, req.VersionID)
	_, dropErr := r.Secrets.UpdateSecretVersionStage(limited, &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &req.SecretARN, VersionStage: aws.String(labelPending), RemoveFromVersionId: &req.VersionID,
	})
	s, err = r.settled(ctx, req.SecretARN, func(s secret) bool { return s.holder(labelPending) != req.VersionID })
	if err == nil && s.holder(labelPending) == req.VersionID {
		err = fmt.Errorf("%s is still there", labelPending)
	}
	if err != nil {
		return false, fmt.Errorf("taking %s off version %q: %w", labelPending, req.VersionID, errors.Join(dropErr, err))
	}
	r.changed("dropped label", labelChange{
		secretARN: req.SecretARN, label: labelPending, from: req.VersionID, fingerprint: fingerprint, generation: generation,
	})
	return false, nil
}

// settled reads labels, with patience as long as they are not as expected. They may stay so.
func (r *Rotator) settled(ctx context.Context, secretARN string, expected func(secret) bool) (s secret, err error) {
	err = r.settle(ctx, func() (bool, error) {
		s, err = r.describe(ctx, secretARN)
		return err == nil && !expected(s), err
	})
	return s, err
}
