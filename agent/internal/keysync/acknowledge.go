package keysync

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
)

const (
	// renewAfter is how often an acknowledgement is written again when nothing changes; it expires after seven days.
	renewAfter = 24 * time.Hour
	// patience is how long an acknowledgement waits for sshd to listen, so that a boot writes one and not two.
	patience = 30 * time.Second
	// unreachableAfter is how many fetches in a row must fail for it to be acknowledged: a single one proves nothing, and a worker
	// that could reach the ledger all the same would flutter between two results.
	unreachableAfter = 3
	ackTimeout       = 30 * time.Second
)

// outcomeOf sums a pass up: a refused keyset counts first, then the first user that has a fault.
func outcomeOf(a applied, refused *refusal) (o ledger.Outcome, code, message string) {
	if refused != nil {
		return ledger.Failed, refused.Code, refused.Error()
	}
	for _, u := range a.users {
		if u.Code != "" {
			return ledger.Failed, u.Code, fmt.Sprintf("user %s: %s", u.Name, u.Message)
		}
	}
	if len(a.users) == 0 {
		return "", "", ""
	}
	return ledger.Applied, "", ""
}

// compose makes the acknowledgement of a pass, and false when there is nothing to acknowledge, or not yet.
func (s *Syncer) compose(a applied) (ledger.Ack, bool) {
	refused := s.refused
	if refused != nil && refused.Code == CodeUnreachable && s.failures < unreachableAfter {
		refused = nil
	}
	if s.holdsBack(a) {
		return ledger.Ack{}, false
	}
	ack := ledger.Ack{
		Worker: s.cfg.Worker, AgentVersion: s.cfg.AgentVersion, Port: s.cfg.Port, Users: a.users,
		HostKeys: s.sshd.hostKeys, Banner: s.sshd.banner, SettingsHash: s.sshd.settingsHash,
	}
	ack.Outcome, ack.Code, ack.Message = outcomeOf(a, refused)
	if s.doc != nil {
		ack.SecretARN, ack.KeysetARN = s.doc.Keyset.SecretARN, s.doc.ARN
		ack.KeysetVersionID, ack.Generation = s.doc.VersionID, s.doc.Keyset.Generation
	} else if arn, seen, ok := s.Memory.Only(); ok && refused != nil {
		ack.SecretARN, ack.KeysetARN, ack.KeysetVersionID, ack.Generation = seen.SecretARN, arn, seen.VersionID, seen.Generation
	} else {
		return ledger.Ack{}, false
	}
	if refused != nil && refused.versionID != "" {
		ack.KeysetVersionID = refused.versionID
	}
	return ack, true
}

// holdsBack reports whether to wait for sshd before acknowledging.
func (s *Syncer) holdsBack(a applied) bool {
	if !a.notListening {
		s.waiting = time.Time{}
		return false
	}
	if s.waiting.IsZero() {
		s.waiting = time.Now()
	}
	return time.Since(s.waiting) < patience
}

// acknowledge writes ack if it says something else than the one written last, or if that one is a day old.
func (s *Syncer) acknowledge(ctx context.Context, ack ledger.Ack) error {
	now, ok := s.Clock.Now()
	if !ok {
		now = time.Now().UTC() // AWS has not answered in this run: its time stamps, if this gets there at all, are the machine's
	}
	ack.Pass, ack.AppliedAt = 1, now
	if last := s.acked; last != nil {
		same := sameResult(*last, ack)
		if same && now.Sub(last.ReportedAt) < renewAfter {
			return nil
		}
		if same {
			ack.AppliedAt = last.AppliedAt
		}
		if last.Generation == ack.Generation {
			ack.Pass = last.Pass + 1
		}
	}
	ack.ReportedAt, ack.ExpiresAt = now, now.Add(ledger.AckLifetime).Unix()
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	pass, err := s.put(ctx, ack)
	if err != nil {
		return err
	}
	ack.Pass = pass
	s.acked = &ack
	s.status.LastAck = time.Now().UTC()
	s.log.Info("acknowledged", logging.Generation(ack.Generation), logging.VersionID(ack.KeysetVersionID),
		zap.String("outcome", string(ack.Outcome)), logging.Code(ack.Code), zap.Int64("pass", ack.Pass))
	return nil
}

// sameResult reports whether two acknowledgements say the same. Times do not count, and neither does the wording of a fault, which
// may name a port or a temporary file; its code does.
func sameResult(a, b ledger.Ack) bool {
	return reflect.DeepEqual(essence(a), essence(b))
}

func essence(a ledger.Ack) ledger.Ack {
	a.Pass, a.Message, a.AppliedAt, a.ReportedAt, a.ExpiresAt = 0, "", time.Time{}, time.Time{}, 0
	a.Users = slices.Clone(a.Users)
	for i := range a.Users {
		u := &a.Users[i]
		if u.Code != "" {
			u.Message = ""
		}
		u.Keys = slices.Clone(u.Keys)
		for j := range u.Keys {
			u.Keys[j].Why = ""
		}
	}
	return a
}

// due is when the next pass is needed though nothing wakes the Syncer: an expiring key, or an acknowledgement to renew. It is
// counted from now; 0 or less means at once.
func (s *Syncer) due() time.Duration {
	next := idle
	now, ok := s.Clock.Now()
	if !ok || s.doc == nil {
		return next
	}
	if at, ok := s.doc.Keyset.NextExpiry(now); ok {
		// AWS's clock is observed anew with every answer and may turn out to be ahead of what was thought.
		next = min(next, at.Sub(now), recheck)
	}
	if s.acked != nil {
		next = min(next, s.acked.ReportedAt.Add(renewAfter).Sub(now))
	}
	return next
}
