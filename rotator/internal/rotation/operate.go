package rotation

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
	"github.com/rotatessh/rotatessh/rotator/internal/safeguard"
)

// operate fulfils an operator's request. Like every other entry point it may run twice and die anywhere: the
// same request sent again goes on where the labels say that it has got to.
func (r *Rotator) operate(ctx context.Context, raw []byte) (any, error) {
	req, err := operator.Parse(raw)
	if err != nil {
		return nil, err
	}
	r = r.as(req.Actor, req.Reason)
	if req.Request == operator.Workers {
		return r.list(ctx, req)
	}
	r.audit("operator asked", req)
	ways := map[operator.Kind]func(context.Context, operator.Request) (outcome, error){
		operator.Abort:    r.abort,
		operator.Resume:   r.resume,
		operator.Rollback: r.rollback,
		operator.Revoke:   r.revoke,
		operator.Waive:    r.waive,
		operator.Rotate:   r.requestedByOperator,
		operator.Unwaive:  r.unwaive,
	}
	out, err := ways[req.Request](ctx, req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", req.Request, err)
	}
	r.audit("operator's request is fulfilled", req, zap.Bool("already", out.already), logging.Generation(out.doc.Keyset.Generation))
	if req.Worker == "" && req.Request != operator.Rotate { // these leave records of their own
		r.reportOperation(ctx, req, out)
	}
	return operator.Response{
		Request: req.Request, SecretARN: req.SecretARN, VersionID: req.VersionID, Already: out.already,
		CurrentVersionID: out.secret.holder(labelCurrent), Generation: out.doc.Keyset.Generation, Message: out.message,
	}, nil
}

// outcome is how a request ended.
type outcome struct {
	state
	already bool
	message string
}

func (r *Rotator) audit(what string, req operator.Request, more ...zap.Field) {
	r.Log.Info(what, append([]zap.Field{
		zap.String("request", string(req.Request)), logging.SecretID(req.SecretARN),
		logging.VersionID(req.VersionID), zap.String("from", req.CurrentVersionID), logging.Worker(req.Worker), zap.Time("until", req.Until),
		zap.Int("accept_lockout", req.AcceptLockout), zap.Bool("force", req.Force),
	}, more...)...)
}

// reportOperation records who asked for what. A repetition that found nothing to do leaves the record of the
// run that did it.
func (r *Rotator) reportOperation(ctx context.Context, req operator.Request, out outcome) {
	phase := string(req.Request)
	if out.already {
		if _, found, err := r.findReport(ctx, out.state, phase); found || err != nil {
			return
		}
	}
	by := req.Actor
	if req.Reason != "" {
		by += ": " + req.Reason
	}
	r.report(ctx, request{step: phase, secretARN: req.SecretARN, token: req.VersionID}, out.state, ledger.Report{Passed: true, Message: out.message, Asked: by})
}

// underLease does what must not meet a promotion or another request. What f does with its context has no
// effect after the lease has ended.
func (r *Rotator) underLease(ctx context.Context, lease ledger.Lease, current string, f func(limited context.Context) error) error {
	if !safeguard.Lease {
		return f(ctx)
	}
	defer r.release(ctx, lease) // also where taking it failed: perhaps only the answer was lost
	if err := r.takeLease(ctx, lease, current); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, r.leaseTime*2/3)
	defer cancel()
	return f(limited)
}

// sound makes sure that there is a key to log in with besides the pending one, so that giving that one up
// takes nobody's last key. A secret that still holds {} has no users.
func (r *Rotator) sound(ctx context.Context, secretARN string) error {
	_, err := r.currentPair(ctx, secretARN)
	if err != nil && !errors.Is(err, keypair.ErrEmpty) {
		return fmt.Errorf("the current key pair cannot be read, and the pending one may be the last that opens the workers (--force gives it up all the same): %w", err)
	}
	return nil
}
