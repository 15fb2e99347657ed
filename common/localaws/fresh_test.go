package localaws_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws"
)

func TestCloseDoesNotWaitForAConnectionOpenedInAdvance(t *testing.T) {
	server, err := localaws.Start(localaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(server.URL(), "http://")
	var idle []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		idle = append(idle, c)
	}
	start := time.Now()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	// net/http's own patience with such a connection is 5 s; the bound is far from what closing takes.
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("closing took %v", took)
	}
	for _, c := range idle {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is still open")
		}
	}
}
