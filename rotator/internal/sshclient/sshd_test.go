package sshclient

import (
	"crypto"
	"os"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/rotator/internal/sshclient/sshdtest"
)

type sshd struct{ *sshdtest.Server }

func startSSHD(t *testing.T, kinds []string, lines ...string) sshd {
	t.Helper()
	return sshd{sshdtest.Start(t, kinds, lines...)}
}

// target pins the host keys of the given kinds.
func (s sshd) target(kinds ...string) Target {
	t := Target{Name: "i-0test", Address: "127.0.0.1", Port: s.Port, User: s.User}
	for _, kind := range kinds {
		t.HostKeys = append(t.HostKeys, s.HostKeys[kind])
	}
	return t
}

func newKey(t *testing.T, kind string) (crypto.Signer, ssh.Signer) {
	t.Helper()
	return sshdtest.NewKey(t, kind)
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustDial(t *testing.T, target Target, key ssh.Signer) *Client {
	t.Helper()
	c, err := Dial(t.Context(), target, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
