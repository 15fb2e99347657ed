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
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient/sshdtest"
)

// BenchmarkProbe compares log-in probes with what x/crypto/ssh takes for the same number of handshakes, which end
// with the log-in, and of log-ins that run the same command; in turns, so that whatever else the machine does
// hits all. x-floor is the probes' rate in that of the handshakes, x-command in that of the log-ins with the command.
//
// sshd starts the user's shell for a command, so that what this shell reads at its start counts: bash reads none
// of its files at SHLVL 1.
func BenchmarkProbe(b *testing.B) {
	const batch, concurrency = 50, 10
	server := sshdtest.Start(b, []string{"ed25519"}, "MaxStartups 1000", "SetEnv SHLVL=1")
	host := server.HostKeys["ed25519"]
	w := fleet.Worker{ID: "i-0bench", Address: "127.0.0.1"}
	ack := ledger.Ack{Port: server.Port, HostKeys: []string{string(ssh.MarshalAuthorizedKey(host))}}
	p := prober{user: server.User, command: "true"}
	bare := &ssh.ClientConfig{
		User: server.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(server.Key)}, HostKeyCallback: ssh.FixedHostKey(host),
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	}
	many := func(one func(context.Context) error) time.Duration {
		start := time.Now()
		g, ctx := errgroup.WithContext(b.Context())
		g.SetLimit(concurrency)
		for range batch {
			g.Go(func() error { return one(ctx) })
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	dial := func() (*ssh.Client, error) {
		return ssh.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(server.Port)), bare)
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
		handshakes += many(handshake)
		probes += many(func(ctx context.Context) error { return p.Probe(ctx, w, ack, server.Key) })
		commands += many(command)
		n += batch
	}
	b.ReportMetric(float64(n)/probes.Seconds(), "probes/s")
	b.ReportMetric(handshakes.Seconds()/probes.Seconds(), "x-floor")
	b.ReportMetric(commands.Seconds()/probes.Seconds(), "x-command")
	b.ReportMetric(0, "ns/op")
}
