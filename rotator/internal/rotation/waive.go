package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

// waive records that a worker does not count for a while. It changes neither labels nor keyset: the gate
// reads waivers in each of its rounds, so that one which waits opens.
func (r *Rotator) waive(ctx context.Context, req operator.Request) (outcome, error) {
	doc, err := r.Keysets.Fetch(ctx)
	if err != nil && !errors.Is(err, keyset.ErrEmpty) {
		return outcome{}, err
	}
	if err == nil && doc.Keyset.SecretARN != req.SecretARN {
		return outcome{}, fmt.Errorf("%w: %q", errForeign, doc.Keyset.SecretARN)
	}
	var out outcome
	out.doc = doc
	if out.secret, err = r.describe(ctx, req.SecretARN); err != nil {
		return outcome{}, err
	}
	now, err := r.now()
	if err != nil {
		return outcome{}, err
	}
	if left := req.Until.Sub(now); left <= 0 || left > operator.MaxWaiver+time.Minute {
		return outcome{}, fmt.Errorf("until %s is past or more than %v away", req.Until.Format(time.RFC3339), operator.MaxWaiver)
	}
	out.message = fmt.Sprintf("rotations go on without %s until %s", req.Worker, req.Until.UTC().Format(time.RFC3339))
	err = r.Ledger.PutWaiver(ctx, ledger.Waiver{
		SecretARN: req.SecretARN, Worker: req.Worker, Actor: req.Actor, Reason: req.Reason, Until: req.Until,
	})
	if err == nil {
		r.Log.Info("waived worker", logging.SecretID(req.SecretARN), logging.Worker(req.Worker), zap.Time("until", req.Until), logging.Generation(doc.Keyset.Generation))
	}
	return out, err
}

// unwaive ends a waiver before its time.
func (r *Rotator) unwaive(ctx context.Context, req operator.Request) (outcome, error) {
	var out outcome
	var err error
	if out.secret, err = r.describe(ctx, req.SecretARN); err != nil {
		return outcome{}, err
	}
	now, err := r.now()
	if err != nil {
		return outcome{}, err
	}
	waived, err := r.waived(ctx, req.SecretARN, now)
	if err != nil {
		return outcome{}, err
	}
	_, found := waived[req.Worker]
	out.already = !found
	out.message = fmt.Sprintf("%s counts again", req.Worker)
	if err := r.Ledger.DeleteWaiver(ctx, req.SecretARN, req.Worker); err != nil {
		return outcome{}, err
	}
	_, generation := r.named(ctx, "")
	r.Log.Info("ended waiver", logging.SecretID(req.SecretARN), logging.Worker(req.Worker), zap.Bool("already", out.already), logging.Generation(generation))
	return out, nil
}

// waived are the live waivers' sentences, by instance id.
func (r *Rotator) waived(ctx context.Context, secretARN string, now time.Time) (map[string]string, error) {
	waivers, err := r.Ledger.Waivers(ctx, secretARN, now)
	if err != nil {
		return nil, err
	}
	waived := make(map[string]string, len(waivers))
	for _, w := range waivers {
		waived[w.Worker] = fmt.Sprintf("waived until %s by %s: %s", w.Until.UTC().Format(time.RFC3339), w.Actor, w.Reason)
	}
	return waived, nil
}
