package keyset

import (
	"slices"
	"time"
)

// Phase is where a rotation stands, as a keyset shows it.
type Phase string

// The phases, in the order in which a rotation passes them.
const (
	PhasePending  Phase = "pending"  // workers are to accept a key that nobody uses yet
	PhaseRetiring Phase = "retiring" // the new key is in use, the old one is still accepted
	PhaseSteady   Phase = "steady"   // one key, and every other one must be refused
)

// Phase is the phase of k at the given time on AWS's clock. It is steady when no key is pending and every
// retiring key has reached its NotAfter.
func (k Keyset) Phase(now time.Time) Phase {
	if _, pending := k.Find(Pending); pending {
		return PhasePending
	}
	if _, waiting := k.NextExpiry(now); waiting {
		return PhaseRetiring
	}
	return PhaseSteady
}

// Elapsed reports whether key is a retiring key that has reached its NotAfter.
func (key Key) Elapsed(now time.Time) bool {
	return key.State == Retiring && !now.Before(key.NotAfter)
}

// NextExpiry is the earliest NotAfter still to come, if there is one.
func (k Keyset) NextExpiry(now time.Time) (time.Time, bool) {
	var next time.Time
	for _, key := range k.Keys {
		if key.State == Retiring && !key.Elapsed(now) && (next.IsZero() || key.NotAfter.Before(next)) {
			next = key.NotAfter
		}
	}
	return next, !next.IsZero()
}

// Effective is what k asks of workers at the given time: k with every elapsed retiring key moved to the
// front of Retired. The generation stays: the passing of time is not a publication. k is not changed.
func (k Keyset) Effective(now time.Time) Keyset {
	var live []Key
	var gone []Retired
	for _, key := range k.Keys {
		if key.Elapsed(now) {
			gone = append(gone, Retired{Fingerprint: key.PublicKey.Fingerprint(), VersionID: key.VersionID, PublicKey: key.PublicKey})
			continue
		}
		live = append(live, key)
	}
	if len(gone) == 0 {
		return k
	}
	k.Keys = live
	k.Retired = slices.Concat(gone, k.Retired)
	if len(k.Retired) > MaxRetired {
		k.Retired = k.Retired[:MaxRetired]
	}
	return k
}
