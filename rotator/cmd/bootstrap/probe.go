package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/settings"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient"
)

// prober tries keys as the controller would use them. It is safe for concurrent use.
type prober struct {
	user    string
	command string
	timeout time.Duration // of one probe, without its wait for a slot
	// slots bounds the log-ins under way. They keep this side busy, while the command does nothing here but take
	// the worker's time, so that it needs none.
	slots chan struct{}
}

func newProber(s settings.Settings) prober {
	return prober{s.User, s.ProbeCommand, s.ProbeTimeout, make(chan struct{}, s.ProbeConcurrency)}
}

// Probe logs in and runs the command. An sshd that is busy may close a connection before the log-in
// (MaxStartups), which says nothing about the key, so anything short of an answer is tried again while the time
// lasts; an answer is final.
func (p prober) Probe(ctx context.Context, w fleet.Worker, a ledger.Ack, key ssh.Signer) error {
	target, err := p.target(w, a)
	if err != nil {
		return err
	}
	ctx, cancel, leave, err := p.enter(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	defer leave()
	for wait := 200 * time.Millisecond; ; wait *= 2 {
		err := p.once(ctx, target, key, leave)
		if err == nil || final(err) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// enter waits for a slot and starts the time of one probe. leave gives the slot back, once however often it is called.
func (p prober) enter(ctx context.Context) (limited context.Context, cancel context.CancelFunc, leave func(), err error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, nil, context.Cause(ctx)
	}
	limited, cancel = context.WithTimeoutCause(ctx, p.timeout, fmt.Errorf("not done within %v: %w", p.timeout, context.DeadlineExceeded))
	return limited, cancel, sync.OnceFunc(func() { <-p.slots }), nil
}

func (p prober) target(w fleet.Worker, a ledger.Ack) (sshclient.Target, error) {
	hostKeys, err := sshclient.ParseHostKeys(a.HostKeys)
	return sshclient.Target{Name: w.ID, Address: w.Address, Port: a.Port, User: p.user, HostKeys: hostKeys}, err
}

// Refuses offers the worker a key of which only the public half is needed.
func (p prober) Refuses(ctx context.Context, w fleet.Worker, a ledger.Ack, key keyset.PublicKey) (bool, error) {
	target, err := p.target(w, a)
	if err != nil {
		return false, err
	}
	ctx, cancel, leave, err := p.enter(ctx)
	if err != nil {
		return false, err
	}
	defer cancel()
	defer leave()
	return sshclient.Refuses(ctx, target, key.SSH())
}

// once calls loggedIn before it runs the command.
func (p prober) once(ctx context.Context, t sshclient.Target, key ssh.Signer, loggedIn func()) error {
	client, err := sshclient.Dial(ctx, t, key)
	if err != nil {
		return err
	}
	defer client.Close()
	loggedIn()
	out, err := client.Run(ctx, p.command)
	if err != nil {
		return err
	}
	if out.ExitStatus != 0 {
		return &sshclient.Error{Phase: sshclient.PhaseCommand, Target: t.Name, Err: fmt.Errorf("%q exited with status %d", p.command, out.ExitStatus)}
	}
	return nil
}

func final(err error) bool {
	switch sshclient.PhaseOf(err) {
	case sshclient.PhaseDial, sshclient.PhaseHandshake, sshclient.PhaseSession:
		return false
	case sshclient.PhaseAuth:
		return errors.Is(err, sshclient.ErrAuth)
	}
	return true
}
