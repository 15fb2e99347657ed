package sshdtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
)

// Pair is a key pair.
type Pair struct {
	Public keyset.PublicKey
	Signer ssh.Signer
}

// NewPair makes an Ed25519 pair.
func NewPair(t testing.TB) Pair {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return pair(t, private, err)
}

// NewRSA makes an RSA pair.
func NewRSA(t testing.TB) Pair {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	return pair(t, private, err)
}

// NewECDSA makes an ECDSA pair on P-256.
func NewECDSA(t testing.TB) Pair {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return pair(t, private, err)
}

func pair(t testing.TB, private crypto.Signer, err error) Pair {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	public, err := keyset.NewPublicKey(signer.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return Pair{Public: public, Signer: signer}
}

func writeHostKey(t testing.TB, name string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	writePrivate(t, name, private, err)
}

// WriteHostKey makes a host key of another type than the server's own, NAME, and its public half, NAME.pub.
func WriteHostKey(t testing.TB, name string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	writePrivate(t, name, private, err)
}

func writePrivate(t testing.TB, name string, private crypto.Signer, err error) {
	t.Helper()
	public := pair(t, private, err).Public
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	WriteFile(t, name, string(pem.EncodeToMemory(block)), 0o600)
	WriteFile(t, name+".pub", public.String()+"\n", 0o644)
}

// LogIn logs the user in for real and runs the command; its output, or the first error.
func (s *Server) LogIn(user string, p Pair, command string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Address, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	ours, channels, requests, err := ssh.NewClientConn(conn, s.Address, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(p.Signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return "", err
	}
	client := ssh.NewClient(ours, channels, requests)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	output, err := session.Output(command)
	return string(output), err
}
