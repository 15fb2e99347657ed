package main

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/settings"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient/sshdtest"
)

// BenchmarkProbe compares log-in probes with what x/crypto/ssh takes for the same number of handshakes, which end
// with the log-in, and of log-ins that run the same command; in turns, so that whatever else the machine does
// hits all. x-floor is the probes' rate in that of the handshakes, x-command in that of the log-ins with the command.
//
// A fleet's servers are a network away and have processors of their own. Where they share the client's, and more than
// a few log-ins at once keep them all busy, x-floor tells only what it costs to start a shell.
func BenchmarkProbe(b *testing.B) {
	for _, c := range []struct {
		name       string
		roundTrip  time.Duration
		concurrent int
	}{
		{"near/concurrent=1", 0, 1},
		{"near/concurrent=2", 0, 2},
		{"near/concurrent=10", 0, 10},
		{"20ms-away/concurrent=10", 20 * time.Millisecond, 10},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkProbe(b, c.roundTrip, c.concurrent) })
	}
}

func benchmarkProbe(b *testing.B, roundTrip time.Duration, concurrency int) {
	const batch = 200
	// What the user's shell reads at its start is not what is measured: bash reads none of its files at SHLVL 1.
	server := sshdtest.Start(b, []string{"ed25519"}, "MaxStartups 1000", "SetEnv SHLVL=1")
	host := server.HostKeys["ed25519"]
	port := server.Port
	if roundTrip > 0 {
		port = far(b, port, roundTrip/2)
	}
	w := fleet.Worker{ID: "i-0bench", Address: "127.0.0.1"}
	ack := ledger.Ack{Port: port, HostKeys: []string{string(ssh.MarshalAuthorizedKey(host))}}
	p := newProber(settings.Settings{User: server.User, ProbeCommand: "true", ProbeTimeout: 10 * time.Second, ProbeConcurrency: concurrency})
	bare := &ssh.ClientConfig{
		User: server.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(server.Key)}, HostKeyCallback: ssh.FixedHostKey(host),
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	}
	many := func(atOnce int, one func(context.Context) error) time.Duration {
		start := time.Now()
		g, ctx := errgroup.WithContext(b.Context())
		g.SetLimit(atOnce)
		for range batch {
			g.Go(func() error { return one(ctx) })
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	dial := func() (*ssh.Client, error) {
		return ssh.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), bare)
	}
	handshake := func(context.Context) error {
		c, err := dial()
		if err != nil {
			return err
		}
		return c.Close()
	}
	command := func(context.Context) error {
		c, err := dial()
		if err != nil {
			return err
		}
		defer c.Close()
		session, err := c.NewSession()
		if err != nil {
			return err
		}
		return session.Run(p.command)
	}
	var probes, handshakes, commands time.Duration
	n := 0
	for b.Loop() {
		handshakes += many(concurrency, handshake)
		probes += many(2*concurrency, func(ctx context.Context) error { return p.Probe(ctx, w, ack, server.Key) })
		commands += many(concurrency, command)
		n += batch
	}
	b.ReportMetric(float64(n)/probes.Seconds(), "probes/s")
	b.ReportMetric(handshakes.Seconds()/probes.Seconds(), "x-floor")
	b.ReportMetric(commands.Seconds()/probes.Seconds(), "x-command")
	b.ReportMetric(0, "ns/op")
}

// far listens for connections to a port of this machine and delays what goes either way.
func far(b *testing.B, port int, delay time.Duration) (listens int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			time.AfterFunc(2*delay, func() { // TCP's own round trip
				server, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
				if err != nil {
					client.Close()
					return
				}
				go carry(server, client, delay)
				go carry(client, server, delay)
			})
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// carry copies until the end of from, each piece as much later.
func carry(to, from net.Conn, delay time.Duration) {
	type piece struct {
		data []byte
		due  time.Time
	}
	pieces := make(chan piece, 100)
	go func() {
		defer to.Close()
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.data) // what cannot arrive is lost with the connection
		}
	}()
	defer close(pieces)
	from = sshclient.QuickAck(from)
	for {
		data := make([]byte, 4096)
		n, err := from.Read(data)
		if err != nil {
			return
		}
		pieces <- piece{data[:n], time.Now().Add(delay)}
	}
}
