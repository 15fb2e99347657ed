package localaws

import (
	"slices"
	"sync"
)

// What a snapshot shows at most of what went by.
const (
	maxRecent      = 100_000
	maxRecentBytes = 64 << 20
)

// recent remembers what went by, oldest first, within bounds. The zero value is ready.
type recent struct {
	mu    sync.Mutex
	list  []string
	bytes int
}

func (r *recent) add(v string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, v)
	r.bytes += len(v)
	if len(r.list) <= maxRecent && r.bytes <= maxRecentBytes {
		return
	}
	// A tenth at least goes at once, since what is left is copied.
	drop, tenth := 0, len(r.list)/10
	for drop < len(r.list)-1 && (drop < tenth || r.bytes > maxRecentBytes) {
		r.bytes -= len(r.list[drop])
		drop++
	}
	r.list = slices.Clone(r.list[drop:])
}

func (r *recent) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}
