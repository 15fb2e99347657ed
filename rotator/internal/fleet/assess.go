package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/safeguard"
)

// The codes for a worker that is not ready. A failed acknowledgement's is "failed:" and the agent's own.
const (
	CodeSilent      = "silent"       // no valid acknowledgement, or one that has expired
	CodeOtherKeyset = "other-keyset" // it follows another keyset secret
	CodeBehind      = "behind"       // acknowledged an earlier version of the keyset
	CodeAhead       = "ahead"        // acknowledged a version that this reader has not seen yet
	CodeNoUser      = "no-user"      // it does not manage the account that the controller uses
	CodeIncomplete  = "incomplete"   // an account's file lacks a key
	CodeRefused     = "refused"      // sshd does not accept the key
	CodeUnverified  = "unverified"   // sshd was not asked or gave no answer
	CodeNoHostKey   = "no-host-key"  // nobody could log in without trusting a stranger
	codeFailed      = "failed:"
)

// Question is what Assess asks of every worker: does it hold and accept these keys?
type Question struct {
	// Document is the keyset in force, of which the acknowledgement must speak.
	Document keystore.Document
	// Key is the key that is to be used next. It and the document's current key must stand in every
	// account's file, and sshd must accept it.
	Key keyset.PublicKey
	// User is the account as which the controller logs in.
	User string
	// PublishedAt and Grace exempt silent workers that were launched after the publication, for Grace from
	// their launch. A zero PublishedAt exempts nobody.
	PublishedAt time.Time
	Grace       time.Duration
	// Waived are the instance ids of workers that do not count unless they are ready, each with a sentence
	// that says why.
	Waived map[string]string
	// AllowUnverified takes a worker for ready whose sshd told neither about the key nor about the current one.
	AllowUnverified bool
	// IgnoreSilent treats those without a valid acknowledgement as waived.
	IgnoreSilent bool
	// Now is AWS's time.
	Now time.Time
}

// Readiness is the answer for a whole fleet. Its slices keep the order of the workers asked about.
type Readiness struct {
	Expected   int              // how many count
	Ready      []Worker         // of those
	Unverified []Worker         // of those that are ready, whose sshd did not tell
	Untagged   []Worker         // of all that count, ready or not
	Exempt     []Worker         // booting, and not counted
	Waived     []ledger.Laggard // not ready, and not counted by an operator's waiver
	Laggards   []ledger.Laggard
	Reasons    map[string]int   // how many laggards there are for each code
	Findings   Findings         // what this follows from
	Pushed     []ledger.Laggard // of the ready ones, those without an agent of their own accord, each with a sentence
}

// Complete reports whether every expected worker is ready. It is true for nobody expected: whether that is
// good enough is the caller's to judge.
func (r Readiness) Complete() bool { return len(r.Laggards) == 0 }

// Reaches reports whether at least the given percentage of the expected workers is ready.
func (r Readiness) Reaches(percent int) bool { return len(r.Ready)*100 >= r.Expected*percent }

// Missing are those of workers that are not among the ready ones.
func (r Readiness) Missing(workers []Worker) []Worker {
	ready := make(map[string]bool, len(r.Ready))
	for _, w := range r.Ready {
		ready[w.ARN] = true
	}
	var out []Worker
	for _, w := range workers {
		if !ready[w.ARN] {
			out = append(out, w)
		}
	}
	return out
}

// Finding is what an acknowledgement says in answer to a Question. It is kept in the acknowledgement's place:
// those of a large fleet would not fit into the memory of a function.
type Finding struct {
	Code, Message string    // the first thing that the worker lacks; empty if it is ready
	Unverified    bool      // it is ready although its sshd did not tell
	Settings      string    // hash of its sshd's effective settings
	Pushed        bool      // the rotator acknowledged it for a worker without an agent
	Since         time.Time // AWS time at which what it acknowledges came to be so
}

// Findings are those of a fleet, by worker ARN.
type Findings map[string]Finding

// Find answers the question for the worker that has acknowledged a.
func (q Question) Find(a ledger.Ack) Finding {
	code, message := q.judge(a)
	// Copies: a part of an acknowledgement's text would keep the whole answer of which it came in memory.
	return Finding{
		Code: strings.Clone(code), Message: strings.Clone(message), Unverified: code == "" && q.AllowUnverified && q.unverified(a),
		Settings: unique.Make(clip(a.SettingsHash, 128)).Value(), Since: a.AppliedAt, Pushed: a.Pushed,
	}
}

// Assess is Judge for acknowledgements that are at hand.
func Assess(workers []Worker, acks map[string]ledger.Ack, q Question) Readiness {
	findings := make(Findings, len(workers))
	for _, w := range workers {
		if a, found := acks[w.ARN]; found {
			findings[w.ARN] = q.Find(a)
		}
	}
	return Judge(workers, findings, q)
}

// Judge sorts workers by what was found out about them. One without a finding has not acknowledged.
func Judge(workers []Worker, findings Findings, q Question) Readiness {
	r := Readiness{Reasons: map[string]int{}, Findings: findings, Ready: make([]Worker, 0, len(findings))}
	for _, w := range workers {
		finding, found := findings[w.ARN]
		if !found && q.booting(w) {
			r.Exempt = append(r.Exempt, w)
			continue
		}
		code, message := CodeSilent, "has not acknowledged anything"
		if found {
			code, message = finding.Code, finding.Message
		}
		why, waived := q.Waived[w.ID]
		if !waived && q.IgnoreSilent && code == CodeSilent {
			why, waived = "ignored, as the rotator's settings say", true
		}
		if waived && code != "" {
			r.Waived = append(r.Waived, ledger.Laggard{Worker: w.ARN, Code: code, Message: why})
			continue
		}
		r.Expected++
		if w.Untagged {
			r.Untagged = append(r.Untagged, w)
		}
		if code == "" {
			r.Ready = append(r.Ready, w)
			if finding.Unverified {
				r.Unverified = append(r.Unverified, w)
			}
			continue
		}
		r.Reasons[code]++
		r.Laggards = append(r.Laggards, ledger.Laggard{Worker: w.ARN, Code: code, Message: message})
	}
	return r
}

// clockError is how far the time of a publication may be behind that of a launch although it came later: both
// are known to the second, and the rotator's view of AWS's time may lag by as much. In doubt a worker counts.
const clockError = 2 * time.Second

func (q Question) booting(w Worker) bool {
	return safeguard.Grace && !q.PublishedAt.IsZero() && w.Launched.After(q.PublishedAt.Add(clockError)) && q.Now.Before(w.Launched.Add(q.Grace))
}

// judge gives "" for a worker that is ready, or the code and the sentence of the first thing that it lacks.
func (q Question) judge(a ledger.Ack) (code, message string) {
	doc := q.Document
	switch {
	case a.KeysetARN != doc.ARN:
		return CodeOtherKeyset, fmt.Sprintf("follows %.200q", a.KeysetARN)
	case a.Generation > doc.Keyset.Generation:
		return CodeAhead, fmt.Sprintf("acknowledged generation %d, and %d is in force", a.Generation, doc.Keyset.Generation)
	case a.Generation < doc.Keyset.Generation || a.KeysetVersionID != doc.VersionID:
		return CodeBehind, fmt.Sprintf("acknowledged generation %d version %.64s, and %d is in force", a.Generation, a.KeysetVersionID, doc.Keyset.Generation)
	case a.Outcome != ledger.Applied:
		return codeFailed + clip(a.Code, 64), clip(a.Message, 300)
	}
	if !slices.ContainsFunc(a.Users, func(u ledger.User) bool { return u.Name == q.User }) {
		return CodeNoUser, fmt.Sprintf("does not manage the account %q", q.User)
	}
	for _, u := range a.Users {
		if code, message := q.judgeUser(u); code != "" {
			return code, message
		}
	}
	if len(a.HostKeys) == 0 || a.Port == 0 {
		return CodeNoHostKey, "acknowledged neither host keys nor a port of its sshd"
	}
	return "", ""
}

// mayBeUnverified reports whether sshd's silence about the key is allowed. It is only where sshd is as silent about
// the current key: one that tells about that one has something else against the other.
func (q Question) mayBeUnverified(u ledger.User) bool {
	current, found := q.Document.Keyset.Find(keyset.Current)
	return q.AllowUnverified && (!found || statusOf(u, current.PublicKey.Fingerprint()).Accepted == ledger.Unverified)
}

// unverified reports whether sshd did not tell about the key for some account.
func (q Question) unverified(a ledger.Ack) bool {
	return slices.ContainsFunc(a.Users, func(u ledger.User) bool { return statusOf(u, q.Key.Fingerprint()).Accepted != ledger.Yes })
}

func (q Question) judgeUser(u ledger.User) (code, message string) {
	if u.Code != "" {
		return codeFailed + clip(u.Code, 64), fmt.Sprintf("%.64s: %s", u.Name, clip(u.Message, 300))
	}
	want := []string{q.Key.Fingerprint()}
	if current, found := q.Document.Keyset.Find(keyset.Current); found {
		want = append(want, current.PublicKey.Fingerprint())
	}
	for _, f := range want {
		if !slices.Contains(u.Fingerprints, f) {
			return CodeIncomplete, fmt.Sprintf("%.64s: the file lacks %s", u.Name, f)
		}
	}
	status := statusOf(u, q.Key.Fingerprint())
	switch status.Accepted {
	case ledger.Yes:
		return "", ""
	case ledger.Unverified:
		if q.mayBeUnverified(u) {
			return "", ""
		}
	case ledger.No:
		return CodeRefused, fmt.Sprintf("%.64s: sshd refuses %s: %s", u.Name, q.Key.Fingerprint(), clip(status.Why, 200))
	}
	return CodeUnverified, fmt.Sprintf("%.64s: %s was not verified: %s", u.Name, q.Key.Fingerprint(), clip(status.Why, 200))
}

// clip bounds text that a worker has written.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
