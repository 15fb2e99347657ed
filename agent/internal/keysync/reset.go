package keysync

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
)

// obeyReset forgets what an operator wants forgotten and reports whether there was such an order. The keyset in force stays in force
// until another one is read.
func (s *Syncer) obeyReset() (ordered bool, err error) {
	order, ordered, err := s.Resets.Take()
	if err != nil {
		return ordered, fmt.Errorf("obeying a reset of generations: %w", err)
	}
	if ordered && len(order.Forget) == 0 {
		s.log.Warn("reset of generations changes nothing", zap.String("by", order.By), zap.Time("ordered_at", order.At))
	}
	for arn, seen := range order.Forget {
		s.log.Warn("generation forgotten", logging.SecretID(arn), logging.Generation(seen.Generation), zap.String("digest", seen.Digest),
			zap.String("by", order.By), zap.Time("ordered_at", order.At))
		if s.doc != nil && s.doc.ARN == arn {
			s.seen = state.Seen{}
		}
	}
	return ordered, nil
}

// put writes an acknowledgement. The first one of a keyset that was read after a reset may be of a lower generation than the one in the
// ledger.
func (s *Syncer) put(ctx context.Context, a ledger.Ack) (pass int64, err error) {
	if s.seen == (state.Seen{}) || !s.Resets.Pending() {
		return s.Recorder.PutAck(ctx, a)
	}
	if err := s.Recorder.ReplaceAck(ctx, a); err != nil {
		return 0, err
	}
	if err := s.Resets.Settle(); err != nil {
		s.log.Warn("end of the reset cannot be remembered", zap.Error(err)) // the next acknowledgement replaces this one, too
	}
	return a.Pass, nil
}
