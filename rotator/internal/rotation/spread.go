package rotation

import (
	"time"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

// readySpread tells how long the workers took to be ready, from the publication to the acknowledgement by which
// each of them became so; nil if the time of the publication is not known.
func readySpread(ready fleet.Readiness, published time.Time) *ledger.Spread {
	if published.IsZero() {
		return nil
	}
	return spreadOf(ready.Ready, published, ready.Expected, func(arn string) time.Time { return ready.Findings[arn].Since })
}

// retiredSpread is the same for the refusal of a key whose time ended at end.
func retiredSpread(r fleet.Retirement, since map[string]time.Time, end time.Time) *ledger.Spread {
	return spreadOf(r.Refused, end, len(r.Refused)+len(r.Accepting)+len(r.Unknown), func(arn string) time.Time { return since[arn] })
}

func spreadOf(workers []fleet.Worker, from time.Time, of int, since func(arn string) time.Time) *ledger.Spread {
	at := make([]time.Time, len(workers))
	for i, w := range workers {
		at[i] = since(w.ARN)
	}
	s := ledger.NewSpread(from, of, at)
	return &s
}
