package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/settings"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient/sshdtest"
)

func TestSlotIsFreeWhileCommandRuns(t *testing.T) {
	server := sshdtest.Start(t, []string{"ed25519"})
	w := fleet.Worker{ID: "i-01", Address: "127.0.0.1"}
	ack := ledger.Ack{Port: server.Port, HostKeys: []string{string(ssh.MarshalAuthorizedKey(server.HostKeys["ed25519"]))}}
	dir := t.TempDir()
	runs, end := filepath.Join(dir, "runs"), filepath.Join(dir, "end")
	waits := newProber(settings.Settings{User: server.User, ProbeTimeout: 20 * time.Second, ProbeConcurrency: 1,
		ProbeCommand: fmt.Sprintf("touch %s; while test -e %[1]s && ! test -e %s; do sleep 0.05; done", runs, end)}) // ends with the test at the latest
	ends := waits // shares the slot
	ends.command = "touch " + end

	waited := make(chan error, 1)
	go func() { waited <- waits.Probe(t.Context(), w, ack, server.Key) }()
	for {
		if _, err := os.Stat(runs); err == nil {
			break
		}
		select {
		case err := <-waited:
			t.Fatalf("the probe whose command does not end by itself: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := ends.Probe(t.Context(), w, ack, server.Key); err != nil {
		t.Errorf("the probe that ends the other's command: %v", err)
	}
	if err := <-waited; err != nil {
		t.Errorf("the probe whose command was running: %v", err)
	}
	if len(waits.slots) != 0 {
		t.Error("a slot is still taken")
	}
}

func TestWaitForSlotEndsWithContext(t *testing.T) {
	p := newProber(settings.Settings{ProbeTimeout: time.Minute, ProbeConcurrency: 1})
	p.slots <- struct{}{}
	why := errors.New("the function's time is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, signer := sshdtest.NewKey(t, "ed25519")
	ack := ledger.Ack{HostKeys: []string{string(ssh.MarshalAuthorizedKey(signer.PublicKey()))}}
	if err := p.Probe(ctx, fleet.Worker{}, ack, signer); !errors.Is(err, why) {
		t.Errorf("Probe says %v, want %v", err, why)
	}
}
