// Package keypair makes the controller's SSH key pairs and reads and writes the secret that holds them: a
// JSON object with a private key in PEM and a public key in one line.
//
// A Pair shows its fingerprint, never its private half, however it is printed, logged or marshalled; the
// one way to the private half's bytes is Encode, and its result belongs in Secrets Manager alone. Go cannot
// promise that copies in memory are wiped.
package keypair

import (
	"crypto"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
)

// ErrEmpty says that a secret holds {}: it has been created and never been filled.
var ErrEmpty = errors.New("the secret holds no key pair yet")

// Pair is one key pair together with the further members of its secret. The zero value is no pair. It is
// immutable and safe for concurrent use.
type Pair struct {
	// A function, so that even a Pair in another struct's unexported field prints as an address: fmt calls
	// no method there, and follows a pointer when the verb does not fit.
	reveal func() *material
}

type material struct {
	signer  ssh.Signer
	public  keyset.PublicKey
	private string // PEM
	next    Type
	extra   members
	revoked []string // what extra says of it
}

// Generate makes a new pair of type t.
func Generate(t Type) (Pair, error) {
	key, err := t.generate()
	if err != nil {
		return Pair{}, fmt.Errorf("generating a key pair of type %q: %w", t, err)
	}
	private, err := marshalPEM(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encoding a key pair of type %q: %w", t, err)
	}
	return newPair(key, string(private), nil)
}

func newPair(key crypto.PrivateKey, private string, extra members) (Pair, error) {
	revoked, err := extra.revoked()
	if err != nil {
		return Pair{}, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return Pair{}, errors.New("private key is of a kind that SSH does not use")
	}
	public, err := keyset.NewPublicKey(signer.PublicKey())
	if err != nil {
		return Pair{}, fmt.Errorf("deriving the public key: %w", err)
	}
	return seal(material{signer: signer, public: public, private: private, next: successor(key), extra: extra, revoked: revoked}), nil
}

func seal(m material) Pair { return Pair{func() *material { return &m }} }

// WithMembersOf is p with the other members of old's secret instead of its own, so that what others keep
// there survives a rotation, and with them the list of revoked keys.
func (p Pair) WithMembersOf(old Pair) Pair {
	if p.IsZero() || old.IsZero() {
		return p
	}
	m := *p.reveal()
	m.extra, m.revoked = old.reveal().extra, old.reveal().revoked
	return seal(m)
}

// IsZero reports whether p is no pair.
func (p Pair) IsZero() bool { return p.reveal == nil }

// Signer signs with the private half; nil for the zero value.
func (p Pair) Signer() ssh.Signer {
	if p.IsZero() {
		return nil
	}
	return p.reveal().signer
}

// PublicKey is the public half as derived from the private one.
func (p Pair) PublicKey() keyset.PublicKey {
	if p.IsZero() {
		return keyset.PublicKey{}
	}
	return p.reveal().public
}

// Fingerprint is the public half's SHA-256 fingerprint; empty for the zero value.
func (p Pair) Fingerprint() string { return p.PublicKey().Fingerprint() }

// Successor is the type of which the next pair should be, so that whoever reads the secret can read that
// one too. It is p's own type where Generate makes that, and else the nearest one.
func (p Pair) Successor() Type {
	if p.IsZero() {
		return Default
	}
	return p.reveal().next
}
