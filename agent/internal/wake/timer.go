package wake

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/rotatessh/rotatessh/agent/internal/keysync"
)

// Timer rings for a full check at every interval, give or take a fifth, until ctx ends. Machines that booted together drift apart.
func Timer(ctx context.Context, bell *Bell, interval time.Duration) {
	for sleep(ctx, spread(interval)) == nil {
		bell.Ring(keysync.Request{Full: true, Why: "full check is due"})
	}
}

// spread gives a random time within a fifth of d.
func spread(d time.Duration) time.Duration { return d - d/5 + rand.N(d*2/5+1) }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
