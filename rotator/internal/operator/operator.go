// Package operator is the language in which an operator's command asks the rotator for something out of the
// ordinary: it invokes the function with a Request and gets a Response. The command never moves a label or
// writes a ledger item itself, so that one place keeps the order of things.
//
// Who may ask is AWS's to decide (lambda:InvokeFunction); a Request's Actor is what the asker says of itself.
package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

const (
	// Source marks an invocation as an operator's request.
	Source = "rotatessh.operator"
	// Version is the only form of requests that this package reads and writes.
	Version = 1
)

// Kind is what is asked for.
type Kind string

// The kinds of requests.
const (
	// Abort takes AWSPENDING off VersionID, whose key becomes a retiring one. The current key stays.
	Abort Kind = "abort"
	// Resume runs the remaining steps of the rotation to VersionID, which AWSPENDING marks.
	Resume Kind = "resume"
	// Rollback makes the key of VersionID, which AWSPREVIOUS marks, the current one again, by the same steps
	// and through the same gate as a rotation.
	Rollback Kind = "rollback"
	// Revoke replaces the key of CurrentVersionID, the current one, by a new pair under VersionID, which the
	// asker has made up. With the switch every other key is refused at once, without the time that a retiring
	// key has. Of the workers that do not accept the new key by then exactly AcceptLockout are given up.
	Revoke Kind = "revoke"
	// Waive lets rotations go on without Worker until Until.
	Waive Kind = "waive"
	// Rotate starts a rotation to VersionID, a new version whose id the asker makes up, for a Reason. It is
	// subject to the same limit as rotations that events ask for.
	Rotate Kind = "rotate"
	// Unwaive ends the waiver of Worker.
	Unwaive Kind = "unwaive"
	// Workers asks who the workers are, by the rotator's settings. It changes nothing, and is answered with a
	// Listing of those that come after After.
	Workers Kind = "workers"
)

// RevocationPrefix begins the version ids of revocations, by which anybody who looks at the labels can tell
// what is pending.
const RevocationPrefix = "revoke-"

// MaxWaiver is the longest time for which a worker may be waived: what is broken for longer is to be
// repaired or removed.
const MaxWaiver = 30 * 24 * time.Hour

var revocationID = regexp.MustCompile(`^` + RevocationPrefix + `[0-9a-f]{32}$`)

// maxText bounds what a person writes, which stands in log lines and reports.
const maxText = 512

// Request is one thing asked for. It may be sent again after any failure: it names the versions that it is
// about, so that a repetition does nothing to a later rotation.
type Request struct {
	Source    string `json:"source"`
	Version   int    `json:"version"`
	Request   Kind   `json:"request"`
	SecretARN string `json:"secretArn"` // of the key-pair secret
	// VersionID is the version of the secret that is given up, finished or gone back to.
	VersionID string `json:"versionId,omitempty"`
	// CurrentVersionID is the version that a Rollback or Revoke replaces.
	CurrentVersionID string `json:"currentVersionId,omitempty"`
	// Worker is the instance id of a Waive, and Until its end on AWS's clock: an absolute time, so that a
	// repetition makes it no longer.
	Worker string    `json:"worker,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	// After is where the Listing of Workers goes on: the Next of the one before, or empty for the first.
	After string `json:"after,omitempty"`
	// AcceptLockout is the exact number of workers that a Revoke may lock the controller out of.
	AcceptLockout int `json:"acceptLockout,omitempty"`
	// Force carries out what is otherwise refused because it would lock the controller out of workers. It is
	// no way around anything else.
	Force  bool   `json:"force,omitempty"`
	Actor  string `json:"actor"`
	Reason string `json:"reason,omitempty"` // a Waive and a Rotate need one, and so does Force
}

// New gives a request without particulars.
func New(kind Kind, secretARN, actor string) Request {
	return Request{Source: Source, Version: Version, Request: kind, SecretARN: secretARN, Actor: actor}
}

// Response is the rotator's answer to a Request that it has fulfilled.
type Response struct {
	Request   Kind   `json:"request"`
	SecretARN string `json:"secretArn"`
	VersionID string `json:"versionId,omitempty"`
	// Already says that an earlier run had done it, so that this one only made sure.
	Already          bool   `json:"already"`
	CurrentVersionID string `json:"currentVersionId,omitempty"` // which AWSCURRENT marks now
	Generation       int64  `json:"generation"`                 // of the keyset in force
	Message          string `json:"message"`
}

// unknown is what a rotator says about a kind of requests that came after it. Commands look for it in the texts of
// older rotators, so it stays as it is.
const unknown = "is unknown to this rotator"

// IsUnknown reports whether the message of a function's error says that it is a rotator which does not know the
// kind of request.
func IsUnknown(message string) bool { return strings.Contains(message, unknown) }

// Parse reads a Request. A field that it does not know is an error: whoever sends it counts on its effect.
func Parse(raw []byte) (Request, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var r Request
	if err := dec.Decode(&r); err != nil {
		return Request{}, fmt.Errorf("reading operator request: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Request{}, errors.New("reading operator request: there is more than one JSON value")
	}
	if err := r.Validate(); err != nil {
		return Request{}, fmt.Errorf("reading operator request: %w", err)
	}
	return r, nil
}

// Validate reports everything that is wrong with r, joined.
func (r Request) Validate() error {
	if r.Source != Source || r.Version != Version {
		return fmt.Errorf("source %.40q version %d is not %q version %d", r.Source, r.Version, Source, Version)
	}
	var errs []error
	complain := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	complain(!strings.HasPrefix(r.SecretARN, "arn:"), "secretArn %.80q is not an ARN", r.SecretARN)
	complain(r.Actor == "" || !plain(r.Actor), "actor is empty, longer than %d bytes, or has control characters", maxText)
	complain(!plain(r.Reason), "reason is longer than %d bytes or has control characters", maxText)
	return errors.Join(append(errs, r.validateKind())...)
}

func (r Request) validateKind() error {
	switch waiver := r.Request == Waive || r.Request == Unwaive; {
	case !waiver && (r.Worker != "" || !r.Until.IsZero()):
		return fmt.Errorf("%s has nothing to do with worker and until", r.Request)
	case r.Request != Revoke && r.AcceptLockout != 0 || r.AcceptLockout < 0:
		return fmt.Errorf("%s with acceptLockout %d: only revoke has such a number, and it is not negative", r.Request, r.AcceptLockout)
	case r.Request != Workers && r.After != "":
		return fmt.Errorf("%s has nothing to do with after", r.Request)
	case (waiver || r.Request == Rotate || r.Request == Workers) && r.Force:
		return fmt.Errorf("%s cannot be forced", r.Request)
	case r.Force && r.Reason == "":
		return errors.New("force needs a reason")
	}
	switch r.Request {
	case Waive:
		if !strings.HasPrefix(r.Worker, "i-") || !plain(r.Worker) || r.Until.IsZero() || r.Reason == "" || r.VersionID+r.CurrentVersionID != "" {
			return errors.New("waive needs the worker's instance id, until and a reason, and no version")
		}
	case Unwaive:
		if !strings.HasPrefix(r.Worker, "i-") || !plain(r.Worker) || !r.Until.IsZero() || r.VersionID+r.CurrentVersionID != "" {
			return errors.New("unwaive needs the worker's instance id and nothing else")
		}
	case Workers:
		if r.VersionID+r.CurrentVersionID != "" || !plain(r.After) {
			return errors.New("workers needs no version, and after is an ARN or empty")
		}
	case Abort, Resume:
		if r.VersionID == "" || r.CurrentVersionID != "" {
			return fmt.Errorf("%s needs versionId and nothing else", r.Request)
		}
	case Rollback, Revoke:
		if r.VersionID == "" || r.CurrentVersionID == "" || r.VersionID == r.CurrentVersionID {
			return fmt.Errorf("%s needs versionId and another currentVersionId", r.Request)
		}
		if r.Request == Revoke && !revocationID.MatchString(r.VersionID) {
			return fmt.Errorf("versionId %.80q is not one of a revocation: %s and 32 hexadecimal digits", r.VersionID, RevocationPrefix)
		}
	case Rotate:
		if !newVersion.MatchString(r.VersionID) || r.Reason == "" || r.CurrentVersionID != "" {
			return errors.New("rotate needs versionId, of 32 to 64 letters, digits and hyphens, and a reason")
		}
	default:
		return fmt.Errorf("request %.40q "+unknown, r.Request)
	}
	return nil
}

// newVersion is what Secrets Manager takes for the id of a new version.
var newVersion = regexp.MustCompile(`^[A-Za-z0-9-]{32,64}$`)

// plain reports whether s may stand in a line of text.
func plain(s string) bool {
	return len(s) <= maxText && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}
