package keypair

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
)

// The secret's two members that this package knows.
const (
	privateMember = "PrivateKey"
	publicMember  = "PublicKey"
)

type members map[string]json.RawMessage

// Decode reads a secret's value. {} gives ErrEmpty; an object without a private key, a private key that
// does not parse or is encrypted, and a stored public key that is not the private key's own are errors.
// An error never quotes any of the value.
func Decode(value []byte) (Pair, error) {
	all, err := parse(value)
	if err != nil {
		return Pair{}, err
	}
	if len(all) == 0 {
		return Pair{}, ErrEmpty
	}
	private, err := all.text(privateMember)
	if err != nil {
		return Pair{}, err
	}
	if private == "" {
		return Pair{}, fmt.Errorf("secret has no %s, and is not {} either", privateMember)
	}
	key, err := parsePEM(private)
	if err != nil {
		return Pair{}, err
	}
	extra := maps.Clone(all)
	delete(extra, privateMember)
	delete(extra, publicMember)
	pair, err := newPair(key, private, extra)
	if err != nil {
		return Pair{}, err
	}
	return pair, checkPublic(all, pair.PublicKey())
}

// parse does not wrap encoding/json's errors: they may quote the value.
func parse(value []byte) (members, error) {
	var all members
	if err := json.Unmarshal(value, &all); err != nil || all == nil {
		return nil, errors.New("secret is not a JSON object")
	}
	return all, nil
}

// text is a member that must be a string if it is there; "" if it is not.
func (m members) text(name string) (string, error) {
	raw, found := m[name]
	if !found {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fmt.Errorf("the secret's %s is not a string", name)
	}
	return s, nil
}

func parsePEM(private string) (crypto.PrivateKey, error) {
	key, err := ssh.ParseRawPrivateKey([]byte(private))
	if _, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		return nil, errors.New("the secret's private key is encrypted with a passphrase")
	}
	if err != nil {
		return nil, errors.New("the secret's private key is not a PEM key that can be read")
	}
	if k, ok := key.(*ed25519.PrivateKey); ok {
		return *k, nil // x/crypto/ssh gives a pointer here, and everything else takes the value
	}
	return key, nil
}

// checkPublic refuses a pair of halves that do not belong together: workers would be told to accept a key
// that the controller does not have.
func checkPublic(all members, derived keyset.PublicKey) error {
	line, err := all.text(publicMember)
	if err != nil || line == "" {
		return err
	}
	stored, err := keyset.ParsePublicKey(strings.TrimSpace(line))
	if err != nil {
		return fmt.Errorf("reading the secret's %s: %w", publicMember, err)
	}
	if stored != derived {
		return fmt.Errorf("the secret's %s is %s, but its private key's is %s", publicMember, stored.Fingerprint(), derived.Fingerprint())
	}
	return nil
}

// Encode gives the secret's value: both halves, comment at the end of the public line, and every other
// member that the secret had, unchanged. The result holds the private key.
func (p Pair) Encode(comment string) (string, error) {
	if p.IsZero() {
		return "", errors.New("encoding a key pair: there is none")
	}
	if strings.ContainsFunc(comment, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", errors.New("encoding a key pair: comment holds a blank or a control character")
	}
	m := p.reveal()
	all := members{}
	maps.Copy(all, m.extra)
	all[privateMember] = quote(m.private)
	all[publicMember] = quote(strings.TrimRight(m.public.String()+" "+comment, " "))
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // or the other members would change their bytes
	if err := enc.Encode(all); err != nil {
		return "", errors.New("encoding a key pair: another member of the secret is not JSON")
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

func quote(s string) json.RawMessage {
	quoted, err := json.Marshal(s)
	if err != nil {
		return nil // cannot happen: every string marshals
	}
	return quoted
}
