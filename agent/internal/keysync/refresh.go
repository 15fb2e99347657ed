package keysync

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/logging"
)

const (
	// maxJump is how far one keyset may be above the one seen before. Real ones rise by one at a time; a forged generation near
	// the end of the range would otherwise shut out every later one.
	maxJump = 1_000_000
	// lagTries and lagWait bound how long a pass waits for a generation that was announced but does not show yet: about three
	// seconds, far longer than Secrets Manager's labels are known to lag.
	lagTries = 6
	lagWait  = 100 * time.Millisecond
	// fetchTimeout bounds one fetch with the SDK's own retries.
	fetchTimeout = 30 * time.Second
)

// A refusal is why the keyset that was fetched, or could not be, is not followed.
type refusal struct {
	*Fault
	versionID string // of the document that was refused; empty if none was read
}

// refresh reads the keyset and, if it may be followed, makes it the one in force. A refusal leaves the one in force as it is. An
// empty secret is no refusal while there has never been a keyset.
func (s *Syncer) refresh(ctx context.Context, announced int64) *refusal {
	doc, err := s.fetch(ctx, announced)
	if errors.Is(err, keyset.ErrEmpty) && s.neverSeen(doc.ARN) {
		s.log.Debug("nothing published yet", logging.SecretID(doc.ARN))
		return nil
	}
	if err != nil {
		return &refusal{Fault: fetchFault(err), versionID: doc.VersionID}
	}
	digest, err := doc.Keyset.Digest()
	if err != nil {
		return &refusal{Fault: fetchFault(err), versionID: doc.VersionID}
	}
	now := state.Seen{Generation: doc.Keyset.Generation, Digest: digest, VersionID: doc.VersionID, SecretARN: doc.Keyset.SecretARN}
	if before, ok := s.Memory.Highest(doc.ARN); ok {
		if err := mayFollow(before, now); err != nil {
			return &refusal{Fault: withCode(err, CodeLower), versionID: doc.VersionID}
		}
	}
	if s.doc == nil || s.doc.Keyset.Generation != now.Generation {
		s.log.Info("keyset accepted", logging.SecretID(doc.ARN), logging.VersionID(doc.VersionID), logging.Generation(now.Generation))
	}
	s.doc, s.seen = &doc, now
	s.known.Store(&Known{SecretARN: now.SecretARN, Generation: now.Generation})
	return nil
}

// remember makes the keyset in force outlast this run. A failure is one of the pass, not of the keyset: a full disk must not stop
// the keys, and every pass tries again.
func (s *Syncer) remember() error {
	if s.doc == nil || s.seen == (state.Seen{}) {
		return nil
	}
	return s.Memory.Remember(s.doc.ARN, s.seen)
}

// neverSeen reports whether there has been no keyset under that ARN.
func (s *Syncer) neverSeen(keysetARN string) bool {
	_, seen := s.Memory.Highest(keysetARN)
	return !seen && s.doc == nil
}

// mayFollow applies the rules by which one document follows another.
func mayFollow(before, now state.Seen) error {
	switch {
	case now.Generation < before.Generation:
		return fault(CodeLower, "keyset of generation %d is older than generation %d, which was seen before", now.Generation, before.Generation)
	case now.Generation == before.Generation && now.Digest != before.Digest:
		return fault(CodeConflict, "keyset of generation %d has other content than the one of that generation seen before", now.Generation)
	case now.Generation-before.Generation > maxJump:
		return fault(CodeJump, "keyset of generation %d is more than %d above generation %d, which was seen before", now.Generation, maxJump, before.Generation)
	}
	return nil
}

// fetch reads the keyset, again for as long as it is older than an announced one. What is there in the end counts: an announcement
// is a hint.
func (s *Syncer) fetch(ctx context.Context, announced int64) (keystore.Document, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	wait := lagWait
	for try := 1; ; try++ {
		doc, err := s.Source.Fetch(ctx)
		lags := doc.Keyset.Generation < announced && (err == nil || errors.Is(err, keyset.ErrEmpty))
		if !lags {
			return doc, err
		}
		if try == lagTries {
			s.log.Warn("announced keyset not found", logging.Generation(announced), zap.Int64("found", doc.Keyset.Generation))
			return doc, err
		}
		if sleep(ctx, jitter(wait)) != nil {
			return doc, err
		}
		wait *= 2
	}
}

// jitter gives a random time between half of d and d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
