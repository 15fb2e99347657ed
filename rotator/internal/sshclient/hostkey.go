package sshclient

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"

	"golang.org/x/crypto/ssh"
)

// ParseHostKeys reads host keys in the form of a *.pub file or an acknowledgement: algorithm, base64,
// optional comment. Lines that do not parse are left out, since a server may have a key of a type that this
// program does not know; without any usable line the result is an error.
func ParseHostKeys(lines []string) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	for _, line := range lines {
		key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
		if err == nil && len(options) == 0 && len(bytes.TrimSpace(rest)) == 0 && len(algorithms(key)) > 0 {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("none of %d host keys is usable", len(lines))
	}
	return keys, nil
}

// algorithms are the signature algorithms by which a server can prove a host key. SHA-1 is not among them.
func algorithms(key ssh.PublicKey) []string {
	switch key.Type() {
	case ssh.KeyAlgoRSA:
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return []string{key.Type()}
	}
	return nil
}

// pinned is a set of host keys of which the server must prove one.
type pinned []ssh.PublicKey

// algorithms lists what to offer the server, in the order of the keys. Only algorithms of pinned keys are
// offered: a server that has keys of other types too would otherwise be free to choose one of those, and
// the comparison would fail although nothing is wrong.
func (p pinned) algorithms() []string {
	var offered []string
	for _, key := range p {
		for _, a := range algorithms(key) {
			if !slices.Contains(offered, a) {
				offered = append(offered, a)
			}
		}
	}
	return offered
}

// check is an ssh.HostKeyCallback; it runs after the server has proved that it holds key.
func (p pinned) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	for _, known := range p {
		if bytes.Equal(known.Marshal(), key.Marshal()) {
			return nil
		}
	}
	return &mismatch{presented: ssh.FingerprintSHA256(key), known: p.fingerprints()}
}

func (p pinned) fingerprints() []string {
	var prints []string
	for _, key := range p {
		prints = append(prints, ssh.FingerprintSHA256(key))
	}
	return prints
}

type mismatch struct {
	presented string
	known     []string
}

func (m *mismatch) Error() string {
	return fmt.Sprintf("the server presented host key %s, which is none of %q", m.presented, m.known)
}

// notPinned reports whether err says that the server has no key, or no type of key, that was pinned.
func notPinned(err error) bool {
	if _, ok := errors.AsType[*mismatch](err); ok {
		return true
	}
	var none *ssh.AlgorithmNegotiationError
	return errors.As(err, &none) && none.What == "host key"
}
