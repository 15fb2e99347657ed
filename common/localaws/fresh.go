package localaws

import (
	"net"
	"net/http"
	"sync"
)

// freshConns are the connections on which no call has come yet. Clients open some in advance, and
// http.Server.Shutdown would wait 5 s for each, since a call may be on its way.
type freshConns struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// note follows a connection; it is for http.Server.ConnState.
func (f *freshConns) note(c net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if state == http.StateNew {
		f.conns[c] = struct{}{}
		return
	}
	delete(f.conns, c)
}

func (f *freshConns) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.Close() // the server's own goroutine notices and reports it closed
	}
}
