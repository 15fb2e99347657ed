package secretsmanager

// maxHistory bounds what is remembered for Snapshot: enough for any test, and an endpoint that runs for
// weeks does not grow.
const maxHistory = 50_000

// history remembers distinct strings, oldest first, and forgets the oldest when it is full.
type history struct {
	list []string
	set  map[string]struct{}
}

func newHistory() *history { return &history{set: map[string]struct{}{}} }

func (h *history) add(v string) {
	if h.has(v) {
		return
	}
	if len(h.list) == maxHistory {
		drop := maxHistory / 10
		for _, old := range h.list[:drop] {
			delete(h.set, old)
		}
		h.list = append([]string(nil), h.list[drop:]...)
	}
	h.list = append(h.list, v)
	h.set[v] = struct{}{}
}

func (h *history) has(v string) bool {
	_, ok := h.set[v]
	return ok
}

func (h *history) all() []string { return append([]string(nil), h.list...) }
