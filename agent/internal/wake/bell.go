// Package wake merges everything that can wake the agent into one bell: a timer, the beacon, the machine's own queue, and the
// managed files themselves. Each source runs on its own and can only ever cause a pass that finds nothing to do: whatever it
// hears, from a queue or a file name, is a hint and never acted upon. A source that fails costs delay, is logged, and tries again.
package wake

import (
	"sync"

	"github.com/rotatessh/rotatessh/agent/internal/keysync"
)

// Bell is where all sources ring. However often it is rung before it is heard, it is heard once, with everything that was rung
// for. It is safe for concurrent use.
type Bell struct {
	rung chan struct{}

	mu      sync.Mutex
	pending keysync.Request
}

// NewBell makes a silent bell.
func NewBell() *Bell { return &Bell{rung: make(chan struct{}, 1)} }

// Ring asks for a pass. It never blocks.
func (b *Bell) Ring(r keysync.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &b.pending
	p.Fetch = p.Fetch || r.Fetch
	p.Full = p.Full || r.Full
	p.Generation = max(p.Generation, r.Generation)
	p.Why = r.Why
	select {
	case b.rung <- struct{}{}:
	default:
	}
}

// Rung delivers a value when the bell has been rung since the last Take.
func (b *Bell) Rung() <-chan struct{} { return b.rung }

// Take gives what was rung for, and silences the bell.
func (b *Bell) Take() keysync.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pending
	b.pending = keysync.Request{}
	select {
	case <-b.rung:
	default:
	}
	return p
}
