package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/keyset"
)

// manager listens as systemd does to a service of Type=notify.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T, w *worker, watchdog string) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	w.env = append(w.env, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC="+watchdog)
	return &manager{t, conn}
}

// hear gives the next message.
func (m *manager) hear() string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		m.t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	n, err := m.conn.Read(buffer)
	if err != nil {
		m.t.Fatalf("systemd hears nothing: %v", err)
	}
	return string(buffer[:n])
}

func TestSystemdIsTold(t *testing.T) {
	c := newCluster(t)
	w := c.newWorker(t)
	m := newManager(t, w, "600000")
	pair := sshdtest.NewPair(t)
	c.publish(t, keyset.Keyset{Generation: 1, Keys: []keyset.Key{key(keyset.Current, pair, 1)}})
	w.sshd.Start(t)
	p := w.start(t)

	first := m.hear()
	for _, want := range []string{"READY=1\n", "WATCHDOG=1\n", "STATUS=generation 1 applied (steady)"} {
		if !strings.Contains(first+"\n", want) {
			t.Errorf("the first message is %q, want %q in it", first, want)
		}
	}
	if !strings.Contains(w.file(t), pair.Public.String()) {
		t.Error("ready before the first pass was over")
	}
	alone := 0
	for range 10 {
		if m.hear() == "WATCHDOG=1" {
			alone++
		}
	}
	if alone < 5 {
		t.Errorf("%d of ten messages are the watchdog's", alone)
	}
	p.signal(t, 15)
	for m.hear() != "STOPPING=1" {
	}
}

func TestReadyThoughNothingCanBeRead(t *testing.T) {
	c := newCluster(t)
	w := c.newWorker(t, "keysetSecret: /dev/ssh")
	m := newManager(t, w, "600000")
	w.start(t)
	if first := m.hear(); !strings.Contains(first, "READY=1\n") || !strings.Contains(first, "STATUS=no keyset is in force: keyset-denied") {
		t.Errorf("the first message is %q", first)
	}
}
