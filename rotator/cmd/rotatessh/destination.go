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
func (b *backend) target(ctx context.Context, to destination, tag string) (sshclient.Target, error) {
	worker, err := b.find(ctx, to.host, tag)
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

// find is the one running worker with that instance id, private address or name.
func (b *backend) find(ctx context.Context, host, tag string) (fleet.Worker, error) {
	workers, err := b.fleet.Workers(ctx)
	if err != nil {
		return fleet.Worker{}, err
	}
	var named []fleet.Worker
	for _, w := range workers {
		switch host {
		case w.ID, w.Address:
			return w, nil
		case w.Name:
			named = append(named, w)
		}
	}
	switch len(named) {
	case 1:
		return named[0], nil
	case 0:
		return fleet.Worker{}, withHint(fmt.Errorf("no running instance tagged %s is called %q", tag, host),
			"HOST is an instance id, a private address or a Name tag: \"rotatessh status\" lists them")
	}
	var ids []string
	for _, w := range named {
		ids = append(ids, w.ID)
	}
	return fleet.Worker{}, withHint(fmt.Errorf("%d workers are called %q", len(named), host), "use one of the instance ids %s", strings.Join(ids, ", "))
}
