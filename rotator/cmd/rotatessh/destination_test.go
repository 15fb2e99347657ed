package main

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
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
