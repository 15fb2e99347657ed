// Package push serves workers that run no agent: it lets Systems Manager's Run Command bring their managed block
// up to date with a shell script, and reads back what the script found in the file.
//
// It promises that nothing of a document becomes a word of the shell, that the script changes no line of the
// file that is not the block's or a retired key's, and that a machine with an agent is only woken. It does not
// prove that sshd accepts a key: whoever pushes logs in to see.
package push

import (
	"crypto/sha256"
	_ "embed" // the script
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
)

// template is the script, with a place for the document.
//
//go:embed script.sh
var template string

// What the template has places for.
const (
	documentPlace = "@DOCUMENT@"
	digestPlace   = "@DIGEST@" // SHA-256 of the document
)

// Document is what a worker is to be brought to.
type Document struct {
	secretARN, versionID string
	generation           int64
	user                 string
	keys                 []keyset.PublicKey
	versions             []string // of the keys, in their order
	retired              []keyset.PublicKey
}

// New gives the document for an account at the given AWS time: keys whose time is over are retired ones.
func New(doc keystore.Document, user string, now time.Time) Document {
	effective := doc.Keyset.Effective(now)
	d := Document{secretARN: doc.Keyset.SecretARN, versionID: doc.VersionID, generation: doc.Keyset.Generation, user: user}
	for _, k := range effective.Keys {
		d.keys, d.versions = append(d.keys, k.PublicKey), append(d.versions, k.VersionID)
	}
	for _, k := range effective.Retired {
		if !k.PublicKey.IsZero() {
			d.retired = append(d.retired, k.PublicKey)
		}
	}
	return d
}

// The forms that the script checks for; what has another one cannot be pushed.
var (
	arnForm     = regexp.MustCompile(`^arn:[A-Za-z0-9:/_+=.@-]+$`)
	versionForm = regexp.MustCompile(`^[A-Za-z0-9-]+$`)
	userForm    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
)

func (d Document) validate() error {
	switch {
	case !arnForm.MatchString(d.secretARN):
		return fmt.Errorf("secret ARN %.80q has characters that cannot be pushed", d.secretARN)
	case !userForm.MatchString(d.user):
		return fmt.Errorf("account %.80q has characters that cannot be pushed", d.user)
	case !versionForm.MatchString(d.versionID):
		return fmt.Errorf("version %.80q has characters that cannot be pushed", d.versionID)
	case len(d.keys) == 0:
		return errors.New("there is no key to push")
	}
	for _, v := range d.versions {
		if !versionForm.MatchString(v) {
			return fmt.Errorf("version %.80q has characters that cannot be pushed", v)
		}
	}
	return nil
}

// text is the document as the script reads it.
func (d Document) text() string {
	lines := []string{
		"rotatessh-push 1", "secret " + d.secretARN, fmt.Sprintf("generation %d", d.generation), "version " + d.versionID, "user " + d.user,
	}
	for i, k := range d.keys {
		lines = append(lines, "key "+k.String()+" "+d.versions[i])
	}
	for _, k := range d.retired {
		lines = append(lines, "retired "+k.String()+" -")
	}
	return strings.Join(append(lines, fmt.Sprintf("end %d", len(lines))), "\n") + "\n"
}

// Script is the script for the document.
func (d Document) Script() (string, error) {
	if err := d.validate(); err != nil {
		return "", err
	}
	const width = 76
	text := []byte(d.text())
	digest, encoded := sha256.Sum256(text), base64.StdEncoding.EncodeToString(text)
	var lines []string
	for ; len(encoded) > width; encoded = encoded[width:] {
		lines = append(lines, encoded[:width])
	}
	places := strings.NewReplacer(documentPlace, strings.Join(append(lines, encoded), "\n"), digestPlace, hex.EncodeToString(digest[:]))
	return places.Replace(template), nil
}
