package rotation

import (
	"context"
	"errors"
	"fmt"

	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// request is one step of one rotation.
type request struct {
	step, secretARN string
	token           string // the version that is to become AWSCURRENT
	rotationToken   string // passed on to PutSecretValue, and nowhere else
	// asked holds what an operator has asked for, whether automatic rotation is on or not; nil for a step
	// that Secrets Manager sends.
	asked *operator.Request
}

// errNotRotating says that the secret is not in the rotation that a step is asked for.
var errNotRotating = errors.New("the secret is not in this rotation")

// precheck asks what every step asks first. done means that AWSCURRENT has reached the token: whatever step
// this is, the rotation needs nothing more than what reconciling does, and that has been done.
func (r *Rotator) precheck(ctx context.Context, req request) (done bool, err error) {
	var s secret
	err = r.settle(ctx, func() (bool, error) {
		if s, err = r.describe(ctx, req.secretARN); err != nil {
			return false, err
		}
		err = s.inRotation(req)
		return errors.Is(err, errNotRotating), err
	})
	if err != nil {
		return false, err
	}
	if s.replicas > 0 {
		return false, fmt.Errorf("secret %q is replicated to %s; workers there could not follow, so it is not rotated", req.secretARN, plural.Of(s.replicas, "region"))
	}
	if s.holder(labelCurrent) != req.token {
		return false, nil
	}
	r.Log.Info("rotation has been finished before, reconciling only", logging.Step(req.step), logging.VersionID(req.token))
	st, err := r.reconcile(ctx, req.secretARN)
	if err != nil {
		return false, err
	}
	r.announceAgain(ctx, st)
	r.reportFinished(ctx, req, st, fleet.Readiness{})
	return true, nil
}

func (s secret) inRotation(req request) error {
	token := req.token
	switch {
	case s.holder(labelCurrent) == token:
		return nil
	case len(s.stages[token]) == 0:
		return fmt.Errorf("version %q is unknown or bears no label: %w", token, errNotRotating)
	case s.holder(labelPending) != token:
		return fmt.Errorf("%s is on version %q instead of %q: %w", labelPending, s.holder(labelPending), token, errNotRotating)
	case !s.enabled && req.asked == nil:
		return fmt.Errorf("rotation of secret %q is switched off", s.arn)
	}
	return nil
}
