package main

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/report"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient/sshdtest"
)

func TestDestinations(t *testing.T) {
	for text, want := range map[string]destination{
		"ec2-user@i-0123456789abcdef0:/tmp/": {"ec2-user", "i-0123456789abcdef0", "/tmp/"},
		"u@10.0.0.7:":                        {"u", "10.0.0.7", ""},
		"u@worker:a:b":                       {"u", "worker", "a:b"},
		"u@worker:a@b":                       {"u", "worker", "a@b"},
		"u@[fd00::7]:x":                      {"u", "fd00::7", "x"},
		"u@[fd00::7]":                        {},
		"u@host":                             {},
		"host:path":                          {},
		"@host:path":                         {},
		"u@:path":                            {},
		"./a@host:path":                      {}, // a local file, as for scp
		"a:b@host:path":                      {},
		"":                                   {},
	} {
		got, err := parseDestination(text)
		if got != want || (err == nil) != (want != destination{}) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		var usage usageError
		if err != nil && !errors.As(err, &usage) {
			t.Errorf("%q: %v is no usage error", text, err)
		}
	}
}

func TestWorkerCannotSendAnybodyElsewhere(t *testing.T) {
	_, key := sshdtest.NewKey(t, "ed25519")
	line := string(ssh.MarshalAuthorizedKey(key.PublicKey()))
	got, err := targetOf(fleet.Worker{ID: "i-1", Address: "10.0.0.7"}, ledger.Ack{Worker: "elsewhere", HostKeys: []string{line}, Port: 2222}, "u")
	if err != nil {
		t.Fatal(err)
	}
	if got.Address != "10.0.0.7" || got.Port != 2222 || got.Name != "i-1" || got.User != "u" || !cmp.Equal(got.HostKeys[0].Marshal(), key.PublicKey().Marshal()) {
		t.Errorf("%+v", got)
	}
}

func TestAHostIsOneWorkerAlone(t *testing.T) {
	const here, there = "arn:aws:ec2:us-east-1:111122223333:instance/", "arn:aws:ec2:us-east-1:444455556666:instance/"
	workers := []fleet.Worker{
		{ARN: here + "i-1", ID: "i-1", Address: "10.0.0.1", Name: "a"},
		{ARN: here + "i-2", ID: "i-2", Address: "10.0.0.2", Name: "b"},
		{ARN: there + "i-2", ID: "i-2", Address: "10.0.0.1", Name: "10.0.0.2"}, // another account, with the same network
		{ARN: there + "i-3", ID: "i-3", Address: "10.0.0.3", Name: "i-1"},      // it can call itself whatever it likes
	}
	b := &backend{fleet: &inventory{workers: workers, source: report.FromRotator, next: time.Now().Add(time.Hour)}}
	for host, want := range map[string]string{
		"i-1": here + "i-1", "a": here + "i-1", "b": here + "i-2", "10.0.0.2": here + "i-2", there + "i-2": there + "i-2", "i-3": there + "i-3",
		"i-2":      "use one of the ARNs [" + here + "i-2], [" + there + "i-2]",
		"10.0.0.1": "use one of the instance ids i-1, i-2",
		"c":        "HOST is an instance id, a private address or a name: \"rotatessh status\" lists them",
	} {
		got, err := b.find(t.Context(), host)
		if hinted, ok := errors.AsType[hintedError](err); ok {
			got.ARN = hinted.hint
		}
		if got.ARN != want {
			t.Errorf("%s: %q, %v, want %q", host, got.ARN, err, want)
		}
	}
}
