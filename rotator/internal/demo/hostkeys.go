package demo

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
)

// hostKeyBits is what a host key of a demo needs; a larger one would take a second to find.
const hostKeyBits = 2048

// hostKey is one host key of a worker, in a file that sshd reads.
type hostKey struct {
	file   string
	public keyset.PublicKey
}

// makeHostKeys writes one host key of each common type into dir, private half and .pub.
func makeHostKeys(dir string) ([]hostKey, error) {
	var keys []hostKey
	for _, kind := range []struct {
		name string
		make func() (crypto.PrivateKey, error)
	}{
		{"ed25519", func() (crypto.PrivateKey, error) { _, k, err := ed25519.GenerateKey(rand.Reader); return k, err }},
		{"ecdsa", func() (crypto.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
		{"rsa", func() (crypto.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, hostKeyBits) }},
	} {
		private, err := kind.make()
		if err != nil {
			return nil, fmt.Errorf("making a host key: %w", err)
		}
		key, err := writeHostKey(filepath.Join(dir, "ssh_host_"+kind.name+"_key"), private)
		if err != nil {
			return nil, fmt.Errorf("writing a host key: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func writeHostKey(file string, private crypto.PrivateKey) (hostKey, error) {
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return hostKey{}, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return hostKey{}, err
	}
	public, err := keyset.NewPublicKey(signer.PublicKey())
	if err != nil {
		return hostKey{}, err
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		return hostKey{}, err
	}
	return hostKey{file: file, public: public}, os.WriteFile(file+".pub", []byte(public.String()+" demo\n"), 0o600)
}
