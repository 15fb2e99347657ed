package localaws

import (
	"net"
	"net/http"
	"sync"
)

// freshConns are the connections on which no call has come yet. Clients open some in advance, and
// http.Server.Shutdown would wait 5 s for each, since a call may be on its way.
type freshConns struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool // no call will be waited for any more
}

// note follows a connection; it is for http.Server.ConnState.
func (f *freshConns) note(c net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(f.conns, c)
	case f.closed: // it was accepted between close and the end of listening
		_ = c.Close()
	default:
		f.conns[c] = struct{}{}
	}
}

// close ends them, and from then on every new one at once.
func (f *freshConns) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for c := range f.conns {
		_ = c.Close() // the server's own goroutine notices and reports it closed
	}
}
