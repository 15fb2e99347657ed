package sshclient

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/rotator/internal/sshclient/sshdtest"
)

func TestEachPinnedAlgorithmIsEnoughOnServerWithSeveral(t *testing.T) {
	s := startSSHD(t, []string{"rsa", "ecdsa", "ed25519"})
	for _, pins := range [][]string{{"rsa"}, {"ecdsa"}, {"ed25519"}, {"ecdsa", "rsa"}} {
		t.Run(strings.Join(pins, "+"), func(t *testing.T) {
			c := mustDial(t, s.target(pins...), s.Key)
			if v := c.ServerVersion(); !strings.HasPrefix(v, "SSH-2.0-OpenSSH") {
				t.Errorf("server version %q", v)
			}
		})
	}
}

func TestOneStaleHostKeyBesideTheRightOneIsNoMismatch(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	target := s.target("ed25519")
	_, other := newKey(t, "ed25519")
	target.HostKeys = append([]ssh.PublicKey{other.PublicKey()}, target.HostKeys...)
	mustDial(t, target, s.Key)
}

func TestWrongHostKeyIsRefusedBeforeTheKeyIsOffered(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		t.Run(kind, func(t *testing.T) {
			target := s.target()
			_, other := newKey(t, kind)
			target.HostKeys = []ssh.PublicKey{other.PublicKey()}
			_, err := Dial(t.Context(), target, noSigner{t, s.Key})
			wantError(t, err, PhaseHostKey, false)
		})
	}
}

func TestUnknownHostKeyIsNotDialled(t *testing.T) {
	_, key := newKey(t, "ed25519")
	_, err := Dial(t.Context(), Target{Address: "127.0.0.1", Port: 1, User: "u"}, key)
	wantError(t, err, PhaseHostKey, false)
}

// noSigner fails the test when it is used.
type noSigner struct {
	t *testing.T
	ssh.Signer
}

func (s noSigner) PublicKey() ssh.PublicKey {
	s.t.Error("the key was offered")
	return s.Signer.PublicKey()
}

func TestRefusedKeyIsErrAuth(t *testing.T) {
	for name, lines := range map[string][]string{
		"plain":                  nil,
		"only one try":           {"MaxAuthTries 1"},
		"no publickey at all":    {"PubkeyAuthentication no", "PasswordAuthentication yes"},
		"user not allowed":       {"AllowUsers nobody-of-that-name"},
		"algorithm not accepted": {"PubkeyAcceptedAlgorithms rsa-sha2-512"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startSSHD(t, []string{"ed25519"}, lines...)
			key := s.Key
			if name == "plain" || name == "only one try" {
				_, key = newKey(t, "ed25519")
			}
			_, err := Dial(t.Context(), s.target("ed25519"), key)
			wantError(t, err, PhaseAuth, true)
		})
	}
}

func TestUnknownUserIsErrAuth(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	target := s.target("ed25519")
	target.User = "nobody-of-that-name"
	_, err := Dial(t.Context(), target, s.Key)
	wantError(t, err, PhaseAuth, true)
}

func TestRSAKeyLogsIn(t *testing.T) {
	_, key := newKey(t, "rsa")
	s := serveFake(t, fakeServer{accept: key.PublicKey()})
	mustDial(t, s, key)
	_, other := newKey(t, "rsa")
	_, err := Dial(t.Context(), s, other)
	wantError(t, err, PhaseAuth, true)
}

func TestKeyThatIsOneOfTwoFactorsIsNotCalledRefused(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"}, "AuthenticationMethods publickey,password", "PasswordAuthentication yes")
	_, err := Dial(t.Context(), s.target("ed25519"), s.Key)
	wantError(t, err, PhaseAuth, false)
	if !strings.Contains(err.Error(), "further authentication method") {
		t.Errorf("error %q does not say that more is asked for", err)
	}
}

func TestServerThatAsksForNoKeyIsAnError(t *testing.T) {
	target := serveFake(t, fakeServer{open: true})
	_, key := newKey(t, "ed25519")
	_, err := Dial(t.Context(), target, key)
	wantError(t, err, PhaseAuth, false)
}

func TestConnectionCutDuringAuthenticationIsNotCalledRefused(t *testing.T) {
	_, key := newKey(t, "ed25519")
	target := serveFake(t, fakeServer{cut: true})
	_, err := Dial(t.Context(), target, key)
	wantError(t, err, PhaseAuth, false)
}

func TestClosedPortIsADialError(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	target := s.target("ed25519")
	target.Port = sshdtest.FreePort(t)
	_, err := Dial(t.Context(), target, s.Key)
	wantError(t, err, PhaseDial, false)
}

func TestSilentServersAreLeftInTime(t *testing.T) {
	_, key := newKey(t, "ed25519")
	for name, greeting := range map[string]string{
		"nothing":       "",
		"identity only": "SSH-2.0-tarpit\r\n",
		"endless lines": "x\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			target := tarpit(t, greeting, name == "endless lines")
			t.Run("by context", func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				_, err := Dial(ctx, target, key)
				wantError(t, err, PhaseHandshake, false)
				if !errors.Is(err, context.DeadlineExceeded) && greeting != "x\r\n" {
					t.Errorf("error %v is not the context's", err)
				}
			})
			t.Run("by its own limit", func(t *testing.T) {
				l := defaults()
				l.handshake = 200 * time.Millisecond
				_, err := dial(t.Context(), target, key, l)
				wantError(t, err, PhaseHandshake, false)
			})
		})
	}
}

// tarpit accepts connections, says something, once or for ever, and never reads.
func tarpit(t *testing.T, greeting string, repeat bool) Target {
	t.Helper()
	l := listen(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go func() {
				for _, err := io.WriteString(conn, greeting); err == nil && repeat; _, err = io.WriteString(conn, greeting) {
					time.Sleep(time.Millisecond)
				}
			}()
		}
	}()
	_, host := newKey(t, "ed25519")
	return Target{Name: "tarpit", Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, User: "u", HostKeys: []ssh.PublicKey{host.PublicKey()}}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func wantError(t *testing.T, err error, phase Phase, auth bool) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if got := PhaseOf(err); got != phase {
		t.Errorf("phase %q, want %q: %v", got, phase, err)
	}
	if got := errors.Is(err, ErrAuth); got != auth {
		t.Errorf("ErrAuth in chain: %v, want %v: %v", got, auth, err)
	}
}

func TestHostKeysAreReadFromAcknowledgements(t *testing.T) {
	_, a := newKey(t, "ed25519")
	_, b := newKey(t, "rsa")
	line := func(k ssh.Signer) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.PublicKey()))) }
	keys, err := ParseHostKeys([]string{line(a), "ssh-future AAAA", "", `from="x" ` + line(a), line(b) + " root@host", line(a) + "\n" + line(b)})
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	if _, err := ParseHostKeys([]string{"ssh-future AAAA"}); err == nil {
		t.Error("no error without a usable key")
	}
}
