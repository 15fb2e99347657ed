package sshclient

import (
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestRefusalsAreToldWithoutThePrivateKey(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		_, other := newKey(t, kind)
		if refused, err := Refuses(t.Context(), s.target("ed25519"), other.PublicKey()); err != nil || !refused {
			t.Errorf("a strange %s key: %v, %v", kind, refused, err)
		}
	}
	if refused, err := Refuses(t.Context(), s.target("ed25519"), s.Key.PublicKey()); err != nil || refused {
		t.Errorf("the key that it accepts: %v, %v", refused, err)
	}
	target := s.target("ed25519")
	_, other := newKey(t, "ed25519")
	target.HostKeys = []ssh.PublicKey{other.PublicKey()}
	if refused, err := Refuses(t.Context(), target, s.Key.PublicKey()); err == nil || refused {
		t.Errorf("another host's answer: %v, %v", refused, err)
	}
	target = s.target("ed25519")
	target.Port = 1
	if refused, err := Refuses(t.Context(), target, s.Key.PublicKey()); err == nil || refused {
		t.Errorf("nobody's answer: %v, %v", refused, err)
	}
}
