package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient"
)

// prober tries a key as the controller would use it.
type prober struct {
	user    string
	command string
}

// Probe logs in and runs the command. An sshd that is busy may close a connection before the log-in
// (MaxStartups), which says nothing about the key, so anything short of an answer is tried again while ctx
// lasts; an answer is final.
func (p prober) Probe(ctx context.Context, w fleet.Worker, a ledger.Ack, key ssh.Signer) error {
	target, err := p.target(w, a)
	if err != nil {
		return err
	}
	for wait := 200 * time.Millisecond; ; wait *= 2 {
		err := p.once(ctx, target, key)
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
	return sshclient.Refuses(ctx, target, key.SSH())
}

func (p prober) once(ctx context.Context, t sshclient.Target, key ssh.Signer) error {
	client, err := sshclient.Dial(ctx, t, key)
	if err != nil {
		return err
	}
	defer client.Close()
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
