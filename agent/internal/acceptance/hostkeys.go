package acceptance

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/crypto/ssh"
)

const (
	maxHostKeyFiles = 16
	maxHostKeySize  = 16 << 10
)

// readHostKeys reads the plain public keys of the files that match the pattern. A file that cannot be read or
// holds no key is left out: sshd too starts with the host keys that it can load. None at all is an error.
func readHostKeys(pattern string) ([]ssh.PublicKey, error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("reading host keys %q: %w", pattern, err)
	}
	var keys []ssh.PublicKey
	var errs []error
	for _, name := range names[:min(len(names), maxHostKeyFiles)] {
		key, err := readHostKey(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !slices.ContainsFunc(keys, sameKey(key)) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.Join(append(errs, fmt.Errorf("no public host key matches %q", pattern))...)
	}
	return keys, nil
}

func readHostKey(name string) (ssh.PublicKey, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading host key: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxHostKeySize))
	if err != nil {
		return nil, fmt.Errorf("reading host key: %w", err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil, fmt.Errorf("reading host key %q: %w", name, err)
	}
	if _, certificate := key.(*ssh.Certificate); certificate {
		return nil, fmt.Errorf("host key %q is a certificate, not a plain key", name)
	}
	return key, nil
}

func sameKey(key ssh.PublicKey) func(ssh.PublicKey) bool {
	blob := key.Marshal()
	return func(other ssh.PublicKey) bool { return bytes.Equal(blob, other.Marshal()) }
}

func describeHostKeys(keys []ssh.PublicKey) []string {
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal())
	}
	return texts
}

// hostKeyAlgorithms is what to offer in the handshake: only algorithms of known keys. Otherwise sshd might
// show a key of another type, which could not be told from a wrong one.
func hostKeyAlgorithms(keys []ssh.PublicKey) []string {
	var algorithms []string
	for _, key := range keys {
		names := []string{key.Type()}
		if key.Type() == ssh.KeyAlgoRSA {
			names = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, name := range names {
			if !slices.Contains(algorithms, name) {
				algorithms = append(algorithms, name)
			}
		}
	}
	return algorithms
}

// hostKeyPin accepts the known keys and keeps the error of any other.
type hostKeyPin struct {
	known []ssh.PublicKey
	files string
	err   error
}

// check is an ssh.HostKeyCallback.
func (p *hostKeyPin) check(address string, _ net.Addr, key ssh.PublicKey) error {
	if slices.ContainsFunc(p.known, sameKey(key)) {
		return nil
	}
	p.err = fmt.Errorf("%w: sshd at %s shows %s %s, which is in none of %q", ErrHostKey, address, key.Type(), ssh.FingerprintSHA256(key), p.files)
	return p.err
}
