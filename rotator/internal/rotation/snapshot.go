package rotation

import (
	"context"
	"errors"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

// snapshot is one reading of the key-pair secret: labels, and the pairs that they mark.
type snapshot struct {
	secret      secret
	current     keypair.Pair // zero while AWSCURRENT marks {}
	currentMade time.Time
	pending     keypair.Pair // zero if there is none
	facts       facts
	// damaged says why a pending version that has a value does not count.
	damaged error
}

// snapshot reads the secret. published must have been read before it is called: what the labels say is then
// newer than published, so that a document computed from both may replace published and nothing else.
func (r *Rotator) snapshot(ctx context.Context, secretARN string, published keyset.Keyset) (snapshot, error) {
	var s snapshot
	err := r.settle(ctx, func() (bool, error) {
		var err error
		s, err = r.read(ctx, secretARN, published)
		return errors.Is(err, errAbsent) || err == nil && s.dubious(published), err
	})
	return s, err
}

func (r *Rotator) read(ctx context.Context, secretARN string, published keyset.Keyset) (snapshot, error) {
	var err error
	var s snapshot
	if s.secret, err = r.describe(ctx, secretARN); err != nil {
		return s, err
	}
	s.facts = facts{secretARN: secretARN, published: published, retireAfter: r.Policy.RetireAfter}
	version := s.secret.holder(labelCurrent)
	if s.current, s.currentMade, err = r.datedPair(ctx, secretARN, version, labelCurrent); err != nil && !errors.Is(err, keypair.ErrEmpty) {
		return s, err
	}
	s.facts.current, s.facts.revoked = labelled{version, s.current.PublicKey()}, s.current.Revoked()
	if err := r.readPending(ctx, &s); err != nil {
		return s, err
	}
	if err := r.readPrevious(ctx, &s); err != nil {
		return s, err
	}
	s.facts.now, err = r.now()
	return s, err
}

// readPending takes a version without a value for what it usually is, a rotation that has not made its key
// yet; unless that key has been published already, for then it is there and cannot be seen at the moment.
// A value that is no key pair must not keep AWSCURRENT's key from being published, and is only remembered.
func (r *Rotator) readPending(ctx context.Context, s *snapshot) error {
	version := s.secret.pending()
	if version == "" {
		return nil
	}
	pair, err := r.pair(ctx, s.secret.arn, version, labelPending)
	switch {
	case err == nil:
		s.pending = pair
		s.facts.pending = labelled{version, pair.PublicKey()}
	case errors.Is(err, keypair.ErrEmpty):
	case errors.Is(err, errAbsent):
		if hasVersion(s.facts.published, version) {
			return err
		}
	case isAWS(err):
		return err
	default:
		s.damaged = err
	}
	return nil
}

// readPrevious is for a keyset that has never been published or has been wiped: the last key that was in
// use may be in a controller's cache.
func (r *Rotator) readPrevious(ctx context.Context, s *snapshot) error {
	version := s.secret.holder(labelPrevious)
	if version == "" || len(s.facts.published.Keys) > 0 {
		return nil
	}
	pair, err := r.pair(ctx, s.secret.arn, version, labelPrevious)
	if isAWS(err) {
		return err
	}
	s.facts.previous = labelled{version, pair.PublicKey()}
	return nil
}

// dubious reports whether the labels seem to have gone back to what they were before published: either
// somebody moved them back, or this is an old answer. Asking again tells.
func (s snapshot) dubious(published keyset.Keyset) bool {
	return goneBack(published, desired(s.facts))
}

// goneBack reports whether next takes a current or pending key of published out of use other than by
// replacing the current key with the pending one.
func goneBack(published, next keyset.Keyset) bool {
	used := make(map[keyset.PublicKey]keyset.State)
	for _, k := range next.Keys {
		used[k.PublicKey] = k.State
	}
	pending, hasPending := published.Find(keyset.Pending)
	promoted := hasPending && used[pending.PublicKey] == keyset.Current
	for _, k := range published.Keys {
		switch k.State {
		case keyset.Current:
			if used[k.PublicKey] != keyset.Current && !promoted {
				return true
			}
		case keyset.Pending:
			if used[k.PublicKey] == keyset.Retiring {
				return true
			}
		}
	}
	return false
}

func hasVersion(k keyset.Keyset, versionID string) bool {
	for _, key := range k.Keys {
		if key.VersionID == versionID && key.State != keyset.Retiring {
			return true
		}
	}
	return false
}

// isAWS reports whether err is an error of an AWS call rather than of what it returned.
func isAWS(err error) bool {
	var operation interface{ Operation() string }
	return errors.As(err, &operation)
}

// now is AWS's time as a lower bound.
func (r *Rotator) now() (time.Time, error) {
	now, known := r.Clock.Now()
	if !known {
		return time.Time{}, errors.New("AWS's answers carry no date, without which no key can be given an end")
	}
	return now, nil
}
