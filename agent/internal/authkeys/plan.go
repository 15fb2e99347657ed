package authkeys

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rotatessh/rotatessh/common/keyset"
)

// A Line is one key of the block.
type Line struct {
	Key     keyset.PublicKey
	Comment string // the version id that the key belongs to; no blanks or control characters
}

// A Plan says what a file has to hold for one secret.
type Plan struct {
	SecretARN string
	Keys      []Line   // in the order in which they are to stand; at least one
	Options   string   // before every key, see ValidateOptions
	Retired   []string // fingerprints that must not be accepted anywhere in the file
	Protect   []string // fingerprints that are never removed outside the block
}

// ErrNoKeys refuses a plan without keys: that nothing is to be accepted any more has to be said differently.
var ErrNoKeys = errors.New("the plan has no keys")

// A ready plan has been checked and turned into what merging needs.
type ready struct {
	arn     string
	options string
	block   []byte
	keys    map[digest]bool
	order   []digest
	retired map[digest]bool
	protect map[digest]bool
}

func (p Plan) prepare() (*ready, error) {
	if err := checkWord("secret ARN", p.SecretARN, 2048); err != nil {
		return nil, err
	}
	if len(p.Keys) == 0 {
		return nil, ErrNoKeys
	}
	if err := ValidateOptions(p.Options); err != nil {
		return nil, err
	}
	r := &ready{arn: p.SecretARN, options: p.Options, keys: map[digest]bool{}}
	var err error
	if r.retired, err = digests("retired", p.Retired); err != nil {
		return nil, err
	}
	if r.protect, err = digests("protected", p.Protect); err != nil {
		return nil, err
	}
	for _, l := range p.Keys {
		if err := r.add(l); err != nil {
			return nil, err
		}
	}
	r.block = p.render()
	return r, nil
}

func (r *ready) add(l Line) error {
	if l.Key.IsZero() {
		return errors.New("the plan has a line without a key")
	}
	if l.Comment != "" {
		if err := checkWord("comment", l.Comment, 256); err != nil {
			return err
		}
	}
	d := digest(sha256.Sum256(l.Key.Blob()))
	switch {
	case r.keys[d]:
		return fmt.Errorf("key %s stands twice in the plan", d)
	case r.retired[d]:
		return fmt.Errorf("key %s is both to be accepted and retired", d)
	}
	r.keys[d] = true
	r.order = append(r.order, d)
	return nil
}

// render writes the block from type and blob, so that nothing else can get in.
func (p Plan) render() []byte {
	var b strings.Builder
	b.WriteString(beginWord + p.SecretARN + managedNote + "\n")
	for _, l := range p.Keys {
		if p.Options != "" {
			b.WriteString(p.Options + " ")
		}
		b.WriteString(l.Key.String())
		if l.Comment != "" {
			b.WriteString(" " + l.Comment)
		}
		b.WriteByte('\n')
	}
	b.WriteString(endWord + p.SecretARN + "\n")
	return []byte(b.String())
}

// checkWord refuses text that would not stay one word of one line.
func checkWord(what, s string, longest int) error {
	if s == "" || len(s) > longest || !utf8.ValidString(s) {
		return fmt.Errorf("%s %.80q is empty, too long or not UTF-8", what, s)
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.IsSpace(r) || r == utf8.RuneError {
			return fmt.Errorf("%s %.80q holds a blank or a control character", what, s)
		}
	}
	return nil
}

func digests(what string, fingerprints []string) (map[digest]bool, error) {
	set := make(map[digest]bool, len(fingerprints))
	for _, s := range fingerprints {
		d, ok := parseDigest(s)
		if !ok {
			return nil, fmt.Errorf("%s key %.80q is not a fingerprint of the form SHA256:…", what, s)
		}
		set[d] = true
	}
	return set, nil
}
