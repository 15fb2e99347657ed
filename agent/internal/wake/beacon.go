package wake

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
)

// BeaconReader reads the beacon; *ledger.Client is one.
type BeaconReader interface {
	Beacon(ctx context.Context, secretARN string) (ledger.Beacon, bool, error)
}

// Beacon polls the beacon. Run is for one goroutine, FleetSize and Announced are for any.
type Beacon struct {
	Reader   BeaconReader
	Known    func() keysync.Known // what the agent has; called before and after each poll
	Interval time.Duration
	Bell     *Bell
	Log      *zap.Logger

	fleet  atomic.Int64
	newest atomic.Int64 // generation announced last
	broken bool         // the last poll failed
}

// beaconTimeout bounds one poll with the SDK's own retries.
const beaconTimeout = 20 * time.Second

// FleetSize is the number of workers as the beacon last told it, or 0.
func (b *Beacon) FleetSize() int { return int(b.fleet.Load()) }

// Announced is the generation that the beacon announced last, or 0.
func (b *Beacon) Announced() int64 { return b.newest.Load() }

// Run polls at every interval, give or take a fifth, until ctx ends. The first poll comes a tenth of the interval after the start,
// when the agent has usually read its keyset. As long as the agent knows no keyset, it does not know where the beacon is
// either, and is asked to look for a keyset instead.
func (b *Beacon) Run(ctx context.Context) {
	for wait := b.Interval / 10; sleep(ctx, spread(wait)) == nil; wait = b.Interval {
		b.poll(ctx)
	}
}

func (b *Beacon) poll(ctx context.Context) {
	known := b.Known()
	if known.SecretARN == "" {
		b.Bell.Ring(keysync.Request{Fetch: true, Why: "no keyset is known yet"})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, beaconTimeout)
	defer cancel()
	beacon, found, err := b.Reader.Beacon(ctx, known.SecretARN)
	if err != nil {
		b.complain(ctx, err)
		return
	}
	b.broken = false
	if !found {
		return
	}
	b.fleet.Store(int64(max(beacon.FleetSize, 0)))
	b.newest.Store(beacon.Generation)
	if beacon.Generation > b.Known().Generation {
		b.Log.Debug("beacon announces a keyset", logging.Generation(beacon.Generation))
		b.Bell.Ring(keysync.Request{Fetch: true, Generation: beacon.Generation, Why: "the beacon has changed"})
	}
}

// complain logs the first failure of a row. The full check does what a broken beacon does not.
func (b *Beacon) complain(ctx context.Context, err error) {
	if ctx.Err() != nil && !b.broken {
		return
	}
	if !b.broken {
		b.Log.Warn("beacon cannot be read", zap.Error(err))
	}
	b.broken = true
}
