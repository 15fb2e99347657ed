package keysync

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/agent/internal/authkeys"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

const (
	// stateRetired stands beside the keyset's own states in an acknowledgement.
	stateRetired = "retired"
	// refuseAgain is when sshd is asked again about a retired key that it has refused. sshd counts each refusal as a failed log-in.
	refuseAgain = 24 * time.Hour
)

// subject is what a verdict is about. Equal subjects need no second question.
type subject struct {
	path string
	file [sha256.Size]byte
	keys string
}

// verify asks sshd about one user's keys, unless what it said last still stands. The question comes with everything but the keys.
func (s *Syncer) verify(ctx context.Context, m *userMemory, q Question, data []byte, j job) {
	now := subject{path: q.File, file: sha256.Sum256(data), keys: describe(j.keyset)}
	if !j.full && now == m.asked && m.settled() {
		return
	}
	q.Block = fingerprints(authkeys.Read(data, j.keyset.SecretARN).Block)
	for _, k := range j.keyset.Keys {
		q.Accept = append(q.Accept, k.PublicKey)
	}
	if retired, ok := newestRetired(j.keyset); ok && (m.refused != retired.Fingerprint || time.Since(m.at) >= refuseAgain) {
		q.Refuse = retired.PublicKey
	}
	m.verdict, m.asked = s.Verifier.Verify(ctx, q), now
	if f := q.Refuse.Fingerprint(); f != "" {
		m.refused = ""
		if m.verdict.Answers[f].Accepted == ledger.No {
			m.refused, m.at = f, time.Now()
		}
	}
}

// settled reports whether the last verdict is good: sshd answered, and as it should.
func (m *userMemory) settled() bool {
	if m.verdict.Err != nil {
		return false
	}
	for fingerprint, a := range m.verdict.Answers {
		if a.Accepted == ledger.No && fingerprint != m.refused {
			return false
		}
	}
	return true
}

func describe(k keyset.Keyset) string {
	var b strings.Builder
	for _, key := range k.Keys {
		b.WriteString(string(key.State) + " " + key.PublicKey.Fingerprint() + "\n")
	}
	if r, ok := newestRetired(k); ok {
		b.WriteString(stateRetired + " " + r.Fingerprint + "\n")
	}
	return b.String()
}

// newestRetired is the retired key that a refusal is asked for: the first one that is known as a whole.
func newestRetired(k keyset.Keyset) (keyset.Retired, bool) {
	for _, r := range k.Retired {
		if !r.PublicKey.IsZero() {
			return r, true
		}
	}
	return keyset.Retired{}, false
}

// statuses is what is known about each key of the keyset, the newest retired one last.
func statuses(k keyset.Keyset, m *userMemory) []ledger.KeyStatus {
	list := make([]ledger.KeyStatus, 0, len(k.Keys)+1)
	for _, key := range k.Keys {
		list = append(list, m.status(key.PublicKey.Fingerprint(), string(key.State)))
	}
	if r, ok := newestRetired(k); ok {
		list = append(list, m.status(r.Fingerprint, stateRetired))
	}
	return list
}

func (m *userMemory) status(fingerprint, state string) ledger.KeyStatus {
	s := ledger.KeyStatus{Fingerprint: fingerprint, State: state, Accepted: ledger.Unverified, Why: "sshd has not been asked"}
	if a, ok := m.verdict.Answers[fingerprint]; ok {
		s.Accepted, s.Why = a.Accepted, a.Why
	} else if state == stateRetired && fingerprint == m.refused {
		s.Accepted, s.Why = ledger.No, ""
	}
	return s
}
