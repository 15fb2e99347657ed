// Package keyset holds the document by which the rotator tells every worker which SSH public keys to
// accept, and its strict validation. A document that does not validate is an error, never an instruction:
// callers keep what they have.
//
// The package has no field that could hold a private key, and it does no I/O.
package keyset

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

const (
	// Schema is the only document format this package reads and writes.
	Schema = "rotatessh.keyset/v1"
	// MaxSize is the largest document in bytes, the quota of a Secrets Manager secret value.
	MaxSize = 64 << 10
	// MaxRetired is the largest number of retired keys in a document.
	MaxRetired = 256
	// MaxGeneration is the largest generation: the largest integer that every JSON reader keeps exactly.
	MaxGeneration = 1<<53 - 1
)

// State is what a worker must do with a key.
type State string

// The states of a key.
const (
	Current  State = "current"  // the controller logs in with it: accept it
	Pending  State = "pending"  // about to be used: accept it beside the current one
	Retiring State = "retiring" // no longer used by a controller that reads afresh: accept it until NotAfter
)

// Key is one key that workers accept.
type Key struct {
	State     State     `json:"state"`
	VersionID string    `json:"versionId"` // version of the key-pair secret that holds the private half
	PublicKey PublicKey `json:"publicKey"`
	// NotAfter ends a retiring key's life, on AWS's clock; zero for the other states.
	NotAfter time.Time `json:"notAfter,omitzero"`
}

// Retired is a key that no worker may accept anywhere in the managed files.
type Retired struct {
	Fingerprint string `json:"fingerprint"` // as ssh-keygen -l prints it, "SHA256:…"
	VersionID   string `json:"versionId,omitempty"`
	// PublicKey is known for the newest retired keys only: a refusal can be tested only with a whole key.
	PublicKey PublicKey `json:"publicKey,omitzero"`
}

// Keyset is a published document. Construct it by literal and check it with Validate, or read it with Parse.
type Keyset struct {
	Schema     string    `json:"schema"`
	SecretARN  string    `json:"secretArn"`  // of the key-pair secret
	Generation int64     `json:"generation"` // rises by at least one with every change of content
	Keys       []Key     `json:"keys"`
	Retired    []Retired `json:"retired"`
}

// Parse reads and validates a document. Fields that it does not know are ignored; everything else that is
// not exactly right is an *Invalid. A secret that holds {} gives ErrEmpty.
func Parse(data []byte) (Keyset, error) {
	if len(data) > MaxSize {
		return Keyset{}, invalid(CodeTooLarge, "keyset of %d bytes is larger than %d", len(data), MaxSize)
	}
	if err := checkJSON(data); err != nil {
		return Keyset{}, err
	}
	var members map[string]json.RawMessage
	if err := decode(data, &members); err != nil {
		return Keyset{}, err
	}
	if members == nil {
		return Keyset{}, invalid(CodeMalformed, "keyset is JSON null, not an object")
	}
	if len(members) == 0 {
		return Keyset{}, ErrEmpty
	}
	if err := checkSchema(members["schema"]); err != nil {
		return Keyset{}, err
	}
	var k Keyset
	if err := decode(data, &k); err != nil {
		return Keyset{}, err
	}
	return k, k.Validate()
}

// checkSchema comes before everything else, so that a document of a later format is refused as such and
// not for a field that has changed its type.
func checkSchema(raw json.RawMessage) error {
	var schema string
	if err := json.Unmarshal(raw, &schema); err != nil || schema != Schema {
		return invalid(CodeSchema, "keyset has schema %.40q, this program reads %q", string(raw), Schema)
	}
	return nil
}

func decode(data []byte, into any) error {
	err := json.Unmarshal(data, into)
	if err == nil {
		return nil
	}
	if bad, ok := errors.AsType[*Invalid](err); ok {
		return bad
	}
	return invalid(CodeMalformed, "keyset is not of the expected form: %v", err)
}

// Encode validates k and gives the canonical bytes: equal keysets have equal bytes.
func (k Keyset) Encode() ([]byte, error) {
	if err := k.Validate(); err != nil {
		return nil, err
	}
	k.Keys = slices.Clone(k.Keys)
	for i := range k.Keys {
		if !k.Keys[i].NotAfter.IsZero() {
			k.Keys[i].NotAfter = k.Keys[i].NotAfter.UTC()
		}
	}
	if k.Retired == nil {
		k.Retired = []Retired{}
	}
	data, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	if len(data) > MaxSize {
		return nil, invalid(CodeTooLarge, "keyset of %d bytes is larger than %d", len(data), MaxSize)
	}
	return data, nil
}

// Digest is the hex SHA-256 of Encode's bytes: 64 characters, which makes it a valid ClientRequestToken.
func (k Keyset) Digest() (string, error) {
	data, err := k.Encode()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// SameContent reports whether a and b ask the same of workers, whatever their generations.
func SameContent(a, b Keyset) bool {
	a.Generation, b.Generation = 1, 1
	da, errA := a.Encode()
	db, errB := b.Encode()
	return errA == nil && errB == nil && bytes.Equal(da, db)
}

// Find is the key in state s, if there is one. There may be several retiring keys: use Keys for those.
func (k Keyset) Find(s State) (Key, bool) {
	i := slices.IndexFunc(k.Keys, func(key Key) bool { return key.State == s })
	if i < 0 {
		return Key{}, false
	}
	return k.Keys[i], true
}
