package rotation

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/logging"
)

var instanceID = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)

// instanceChanged tidies up after an instance that is gone for good. The event decides nothing else: who
// counts as a worker is asked of the inventory at the time, and what the instance has acknowledged expires.
func (r *Rotator) instanceChanged(ctx context.Context, e event) (Result, error) {
	switch {
	case !instanceID.MatchString(e.Detail.InstanceID):
		return Result{}, errors.New("event of EC2 names no instance")
	case e.Detail.State != "terminated":
		return Result{Ignored: "the instance is not terminated"}, nil
	}
	removed, err := r.Queues.Remove(ctx, e.Detail.InstanceID)
	if err != nil {
		return Result{}, fmt.Errorf("tidying up after instance %s: %w", e.Detail.InstanceID, err)
	}
	r.Log.Info("instance is terminated", logging.Worker(e.Detail.InstanceID), zap.Bool("queue_removed", removed))
	return Result{QueueRemoved: removed}, nil
}

// sweepMinutes is the part of each hour in which schedules sweep, so that one of them does where they come every
// five minutes.
const sweepMinutes = 5

// sweep makes good for events about terminated instances that were lost.
func (r *Rotator) sweep(ctx context.Context) {
	if now, err := r.now(); err != nil || now.Minute() >= sweepMinutes {
		return
	}
	removed, err := r.Queues.Sweep(ctx)
	if err != nil {
		r.Log.Warn("queues of terminated instances were not all removed", zap.Error(err))
	}
	if len(removed) > 0 {
		r.Log.Info("removed queues of instances that are gone", zap.Int("queues", len(removed)))
	}
}
