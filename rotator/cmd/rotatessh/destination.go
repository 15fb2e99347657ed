package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient"
)

// destination is USER@HOST:PATH.
type destination struct{ user, host, path string }

// parseDestination splits text; an IPv6 address stands in brackets.
func parseDestination(text string) (destination, error) {
	bad := withHint(usagef("%q is not of the form USER@HOST:PATH", text), "for example ec2-user@i-0123456789abcdef0:/tmp/")
	user, rest, found := strings.Cut(text, "@")
	if !found || user == "" || strings.ContainsAny(user, "/:") {
		return destination{}, bad
	}
	var host, path string
	if inner, bracketed := strings.CutPrefix(rest, "["); bracketed {
		host, path, found = strings.Cut(inner, "]:")
	} else {
		host, path, found = strings.Cut(rest, ":")
	}
	if !found || host == "" {
		return destination{}, bad
	}
	return destination{user, host, path}, nil
}

// target finds the worker. Its address comes from the inventory, and only the port and the host keys from
// what it acknowledged, so that a worker cannot send anybody elsewhere.
func (b *backend) target(ctx context.Context, to destination) (sshclient.Target, error) {
	worker, err := b.find(ctx, to.host)
	if err != nil {
		return sshclient.Target{}, err
	}
	secret, err := b.describe(ctx)
	if err != nil {
		return sshclient.Target{}, err
	}
	acks, err := b.ledger.Acks(ctx, secret.ARN, []string{worker.ARN}, b.now())
	if err != nil {
		return sshclient.Target{}, err
	}
	ack, found := acks[worker.ARN]
	if !found {
		return sshclient.Target{}, withHint(fmt.Errorf("worker %s has acknowledged nothing, so its host keys are not known", worker.ID),
			"is rotatessh-agent running there? see \"rotatessh status\"")
	}
	return targetOf(worker, ack, to.user)
}

func targetOf(w fleet.Worker, a ledger.Ack, user string) (sshclient.Target, error) {
	keys, err := sshclient.ParseHostKeys(a.HostKeys)
	if err != nil || a.Port == 0 {
		return sshclient.Target{}, withHint(fmt.Errorf("worker %s has acknowledged neither a usable host key nor a port", w.ID),
			"its agent could not ask its sshd: see the agent's log there")
	}
	return sshclient.Target{Name: w.ID, Address: w.Address, Port: a.Port, User: user, HostKeys: keys}, nil
}

// find is the one worker with that ARN, instance id, private address or name, in this order. Accounts may have the same
// addresses, and names are anybody's choice: what several share tells none of them.
func (b *backend) find(ctx context.Context, host string) (fleet.Worker, error) {
	workers, err := b.fleet.Workers(ctx)
	if err != nil {
		return fleet.Worker{}, err
	}
	for _, of := range []func(fleet.Worker) string{
		func(w fleet.Worker) string { return w.ARN },
		func(w fleet.Worker) string { return w.ID },
		func(w fleet.Worker) string { return w.Address },
		func(w fleet.Worker) string { return w.Name },
	} {
		var found []fleet.Worker
		for _, w := range workers {
			if of(w) == host {
				found = append(found, w)
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return fleet.Worker{}, ambiguous(host, found)
		}
	}
	return fleet.Worker{}, withHint(b.fleet.nobody(host), "HOST is an instance id, a private address or a name: \"rotatessh status\" lists them")
}

// ambiguous names the workers by what tells them apart, as HOST takes it.
func ambiguous(host string, workers []fleet.Worker) error {
	what, names := "instance ids", make([]string, len(workers))
	for i, w := range workers {
		if names[i] = w.ID; w.ID == host {
			what, names[i] = "ARNs", "["+w.ARN+"]"
		}
	}
	return withHint(fmt.Errorf("%d workers are called %q", len(workers), host), "use one of the %s %s", what, strings.Join(names, ", "))
}
