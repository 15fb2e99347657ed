package localaws

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// ended reports whether the other end of a pipe has been closed: a pipe then takes no deadline any more.
func ended(peer net.Conn) bool {
	return errors.Is(peer.SetReadDeadline(time.Time{}), io.ErrClosedPipe)
}

func TestConnectionsWithoutACallEndWhenTheServerDoes(t *testing.T) {
	f := &freshConns{conns: map[net.Conn]struct{}{}}
	pipe := func() (server, client net.Conn) {
		server, client = net.Pipe()
		t.Cleanup(func() { _, _ = server.Close(), client.Close() })
		return server, client
	}
	unused, unusedPeer := pipe()
	busy, busyPeer := pipe()
	late, latePeer := pipe()

	f.note(unused, http.StateNew)
	f.note(busy, http.StateNew)
	f.note(busy, http.StateActive)
	if ended(unusedPeer) {
		t.Error("a connection was closed before the server ended")
	}
	f.close()
	f.note(late, http.StateNew)

	if !ended(unusedPeer) {
		t.Error("a connection on which no call came is still open")
	}
	if ended(busyPeer) {
		t.Error("a connection with a call in hand was closed")
	}
	if !ended(latePeer) {
		t.Error("a connection accepted after the end was left open")
	}
}
