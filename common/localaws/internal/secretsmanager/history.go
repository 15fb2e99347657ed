package secretsmanager

// What is remembered for snapshots at most: enough for any test, and an endpoint that runs for weeks does
// not grow.
const (
	maxHistory      = 50_000
	maxHistoryBytes = 64 << 20
)

// history remembers distinct strings, oldest first, and forgets the oldest when it is full.
type history struct {
	list  []string
	set   map[string]struct{}
	bytes int
}

func newHistory() *history { return &history{set: map[string]struct{}{}} }

func (h *history) add(v string) {
	if h.has(v) {
		return
	}
	h.list = append(h.list, v)
	h.set[v] = struct{}{}
	h.bytes += len(v)
	if len(h.list) > maxHistory || h.bytes > maxHistoryBytes {
		h.forget()
	}
}

// forget drops the oldest tenth, and more until the bytes fit, in one go: it copies what is left.
func (h *history) forget() {
	drop, tenth := 0, len(h.list)/10
	for drop < len(h.list)-1 && (drop < tenth || h.bytes > maxHistoryBytes) {
		delete(h.set, h.list[drop])
		h.bytes -= len(h.list[drop])
		drop++
	}
	h.list = append([]string(nil), h.list[drop:]...)
}

func (h *history) has(v string) bool {
	_, ok := h.set[v]
	return ok
}

func (h *history) all() []string { return append([]string(nil), h.list...) }
