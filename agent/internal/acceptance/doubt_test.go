package acceptance

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/keyset"
)

// serve runs handle for every connection to a loopback address until the test ends.
func serve(t *testing.T, handle func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// hostKeyFile makes a host key and a file with its public half.
func hostKeyFile(t *testing.T) (signer ssh.Signer, name string) {
	t.Helper()
	pair := sshdtest.NewPair(t)
	name = filepath.Join(t.TempDir(), "ssh_host_test_key.pub")
	sshdtest.WriteFile(t, name, pair.Public.String()+"\n", 0o644)
	return pair.Signer, name
}

func wantUnverified(t *testing.T, got Result, why string) {
	t.Helper()
	for _, answer := range got.Answers {
		if answer.Accepted != "unverified" || !strings.Contains(answer.Why, why) {
			t.Errorf("answer is %+v, want unverified because of %q", answer, why)
		}
	}
	if len(got.Answers) == 0 {
		t.Error("there is no answer")
	}
}

func TestAskGivesUpOnSilentServer(t *testing.T) {
	_, file := hostKeyFile(t)
	pair := sshdtest.NewPair(t)
	for name, greeting := range map[string]string{
		"nothing":         "",
		"endless banner":  "hello\r\n",
		"banner, no more": "SSH-2.0-Tarpit\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			address := serve(t, func(conn net.Conn) {
				io.WriteString(conn, greeting)
				io.Copy(io.Discard, conn)
			})
			a := New(Config{Address: address, HostKeyFiles: file, Timeout: 200 * time.Millisecond})
			got, err := a.Ask(t.Context(), Question{User: "root", Accept: []keyset.PublicKey{pair.Public}})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error is %v, want a passed deadline", err)
			}
			wantUnverified(t, got, "did not answer within 200ms")
		})
	}
}

func TestAskStopsWhenCancelled(t *testing.T) {
	_, file := hostKeyFile(t)
	pair := sshdtest.NewPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	address := serve(t, func(conn net.Conn) {
		cancel()
		io.Copy(io.Discard, conn)
	})
	got, err := New(Config{Address: address, HostKeyFiles: file}).Ask(ctx, Question{User: "root", Accept: []keyset.PublicKey{pair.Public}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
	wantUnverified(t, got, "context canceled")
}

func TestAskReportsBeingTurnedAway(t *testing.T) {
	_, file := hostKeyFile(t)
	pair := sshdtest.NewPair(t)
	for text, why := range map[string]string{
		"":                             "closed the connection before it said anything",
		"Not allowed at this time\r\n": `saying "Not allowed at this time"`,
	} {
		address := serve(t, func(conn net.Conn) {
			io.WriteString(conn, text)
			conn.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, conn)
		})
		got, err := New(Config{Address: address, HostKeyFiles: file}).Ask(t.Context(), Question{User: "root", Accept: []keyset.PublicKey{pair.Public}})
		if err == nil {
			t.Error("there is no error")
		}
		wantUnverified(t, got, why)
	}
}

func TestAskReportsFullServer(t *testing.T) {
	server := sshdtest.Start(t, "MaxStartups 1:100:1")
	pair := sshdtest.NewPair(t)
	holder, err := net.Dial("tcp", server.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if _, err := holder.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	got, err := asker(server).Ask(t.Context(), Question{User: sshdtest.User(t), Accept: []keyset.PublicKey{pair.Public}})
	if err == nil {
		t.Error("there is no error")
	}
	wantUnverified(t, got, "MaxStartups")
}

func TestAskRefusesForeignHostKey(t *testing.T) {
	user := sshdtest.User(t)
	server := sshdtest.Start(t)
	pair := sshdtest.NewPair(t)
	server.Allow(t, user, pair.Public.String())
	_, file := hostKeyFile(t)
	got, err := New(Config{Address: server.Address, HostKeyFiles: file}).Ask(t.Context(), Question{User: user, Accept: []keyset.PublicKey{pair.Public}})
	if !errors.Is(err, ErrHostKey) {
		t.Errorf("error is %v, want ErrHostKey", err)
	}
	wantUnverified(t, got, "which is in none of")
	if len(got.HostKeys) != 1 {
		t.Errorf("host keys are %q, want that of the file", got.HostKeys)
	}
}

func TestAskNeedsHostKeyFiles(t *testing.T) {
	server := sshdtest.Start(t)
	folder := t.TempDir()
	pair := sshdtest.NewPair(t)
	for name, text := range map[string]string{"none": "", "garbage": "not a key\n"} {
		pattern := filepath.Join(folder, name, "*.pub")
		if err := os.MkdirAll(filepath.Dir(pattern), 0o755); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			sshdtest.WriteFile(t, filepath.Join(folder, name, "x.pub"), text, 0o644)
		}
		got, err := New(Config{Address: server.Address, HostKeyFiles: pattern}).Ask(t.Context(), Question{User: "root", Accept: []keyset.PublicKey{pair.Public}})
		if err == nil {
			t.Errorf("%s: there is no error", name)
		}
		wantUnverified(t, got, "no public host key matches")
	}
}

// A stale file of a type that sshd no longer serves must not be taken for a changed host key, whatever
// x/crypto/ssh would negotiate by itself.
func TestAskReportsEveryHostKeyFile(t *testing.T) {
	user := sshdtest.User(t)
	server := sshdtest.Start(t)
	pair := sshdtest.NewPair(t)
	server.Allow(t, user, pair.Public.String())
	stale := filepath.Join(server.Dir, "ssh_host_ecdsa_key.pub")
	sshdtest.WriteFile(t, stale, sshdtest.NewECDSA(t).Public.String()+"\n", 0o644)
	got, err := asker(server).Ask(t.Context(), Question{User: user, Accept: []keyset.PublicKey{pair.Public}})
	if err != nil || accepted(got) != "yes" {
		t.Errorf("answers are %+v, error %v", got.Answers, err)
	}
	if len(got.HostKeys) != 2 {
		t.Errorf("host keys are %q, want two", got.HostKeys)
	}
}

// With several host keys, sshd must show one whose file is there.
func TestAskAsksForKnownHostKey(t *testing.T) {
	user := sshdtest.User(t)
	server := sshdtest.Configure(t)
	second := filepath.Join(server.Dir, "second_key")
	sshdtest.WriteHostKey(t, second)
	server.Rewrite(t, "HostKey "+second)
	server.Start(t)
	pair := sshdtest.NewPair(t)
	server.Allow(t, user, pair.Public.String())
	for _, files := range []string{server.HostKeyFiles, second + ".pub"} {
		got, err := New(Config{Address: server.Address, HostKeyFiles: files}).Ask(t.Context(), Question{User: user, Accept: []keyset.PublicKey{pair.Public}})
		if err != nil || accepted(got) != "yes" {
			t.Errorf("%s: answers are %+v, error %v", files, got.Answers, err)
		}
	}
}

func TestAskStopsCountingAnswersWhenDisconnected(t *testing.T) {
	user := sshdtest.User(t)
	server := sshdtest.Start(t, "MaxAuthTries 2")
	known, first, second, third := sshdtest.NewPair(t), sshdtest.NewPair(t), sshdtest.NewPair(t), sshdtest.NewPair(t)
	server.Allow(t, user, known.Public.String())
	got, err := asker(server).Ask(t.Context(), Question{
		User:   user,
		Accept: []keyset.PublicKey{known.Public, first.Public, second.Public},
		Refuse: third.Public,
	})
	if err != nil {
		t.Error(err)
	}
	if accepted(got) != "yes no unverified unverified" {
		t.Errorf("answers are %+v", got.Answers)
	}
	if !strings.Contains(got.Answers[2].Why, "Too many authentication failures") {
		t.Errorf("reason is %q", got.Answers[2].Why)
	}
}

// countedConn closes after so many packets from the server, as a crashing sshd or a firewall would.
type countedConn struct {
	net.Conn
	left *atomic.Int32
}

func (c countedConn) Write(p []byte) (int, error) {
	if c.left.Add(-1) < 0 {
		c.Conn.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

// lyingServer accepts the one key and refuses others, and breaks off after so many writes.
func lyingServer(t *testing.T, host ssh.Signer, accept keyset.PublicKey, writes int32) (address string) {
	t.Helper()
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) == string(accept.Blob()) {
			return nil, nil
		}
		return nil, errors.New("no")
	}}
	config.AddHostKey(host)
	return serve(t, func(conn net.Conn) {
		left := &atomic.Int32{}
		left.Store(writes)
		ssh.NewServerConn(countedConn{conn, left}, config)
	})
}

// Wherever the connection breaks, an answer that did not come is never taken for one.
func TestAskTakesNoAnswerFromBrokenConnection(t *testing.T) {
	host, file := hostKeyFile(t)
	known, absent := sshdtest.NewPair(t), sshdtest.NewPair(t)
	possible := map[string]bool{
		"unverified unverified unverified unverified": true,
		"yes unverified unverified unverified":        true,
		"yes no yes unverified":                       true,
		"yes no yes no":                               true,
	}
	seen := make(map[string]bool)
	for writes := range int32(16) {
		a := New(Config{Address: lyingServer(t, host, known.Public, writes), HostKeyFiles: file})
		got, err := a.Ask(t.Context(), Question{
			User: "root", Accept: []keyset.PublicKey{known.Public, absent.Public, known.Public}, Refuse: absent.Public,
		})
		words := accepted(got)
		if !possible[words] {
			t.Errorf("after %d writes: answers are %+v, error %v", writes, got.Answers, err)
		}
		if (err != nil) != (words == "unverified unverified unverified unverified") {
			t.Errorf("after %d writes: error is %v with answers %s", writes, err, words)
		}
		seen[words] = true
	}
	if len(seen) != len(possible) {
		t.Errorf("seen %v, want all of %v: the connection was not cut at every place", seen, possible)
	}
}

func TestAskReportsOpenDoor(t *testing.T) {
	host, file := hostKeyFile(t)
	pair := sshdtest.NewPair(t)
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(host)
	address := serve(t, func(conn net.Conn) { ssh.NewServerConn(conn, config) })
	got, err := New(Config{Address: address, HostKeyFiles: file}).Ask(t.Context(), Question{User: "root", Accept: []keyset.PublicKey{pair.Public}})
	if err == nil {
		t.Error("there is no error")
	}
	wantUnverified(t, got, "without any key")
}

func TestAskWithoutPublickeyOnOfferIsUnverified(t *testing.T) {
	user := sshdtest.User(t)
	pair := sshdtest.NewPair(t)
	for _, setting := range []string{"PubkeyAuthentication no", "AuthenticationMethods password,publickey"} {
		server := sshdtest.Start(t, setting)
		server.Allow(t, user, pair.Public.String())
		got, err := asker(server).Ask(t.Context(), Question{User: user, Accept: []keyset.PublicKey{pair.Public}})
		if err != nil {
			t.Error(err)
		}
		wantUnverified(t, got, "begin with a public key")
	}
}

// SHA-1 signatures are not worth an answer: controllers do not make them.
func TestAskDoesNotOfferSHA1(t *testing.T) {
	user := sshdtest.User(t)
	server := sshdtest.Start(t, "PubkeyAcceptedAlgorithms ssh-rsa,ssh-ed25519")
	first, second := sshdtest.NewRSA(t), sshdtest.NewPair(t)
	server.Allow(t, user, first.Public.String(), second.Public.String())
	got, err := asker(server).Ask(t.Context(), Question{User: user, Accept: []keyset.PublicKey{first.Public, second.Public}})
	if err != nil {
		t.Error(err)
	}
	if !strings.HasSuffix(accepted(got), " yes") || strings.HasPrefix(accepted(got), "yes") {
		t.Errorf("answers are %+v, want the RSA key not accepted", got.Answers)
	}
}
