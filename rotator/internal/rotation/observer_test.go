package rotation_test

import (
	"slices"
	"sync"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

// observer is a controller that could log in at any instant, with what AWSCURRENT holds or with what it
// held a moment ago; and an auditor of every keyset that was in force.
type observer struct {
	r *rig

	mu    sync.Mutex
	looks int
	off   bool
	stale bool // a call has changed a secret since current and doc were read
	pair  keypair.Pair
	doc   keyset.Keyset
	since map[keyset.PublicKey]time.Time // when each key was last seen as AWSCURRENT's
	last  keyset.Keyset
	theft map[keyset.PublicKey]bool // keys that an operator wants nobody to use
}

func newObserver(r *rig) *observer {
	return &observer{r: r, stale: true, since: map[keyset.PublicKey]time.Time{}, theft: map[keyset.PublicKey]bool{}}
}

// pause does something that locks controllers out by its nature, without the observer.
func (o *observer) pause(f func()) {
	o.mu.Lock()
	o.off = true
	o.mu.Unlock()
	f()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.off, o.stale, o.last = false, true, keyset.Keyset{}
	clear(o.since)
}

// stolen says that a key is to be revoked: who has it from before the switch is locked out by intention.
func (o *observer) stolen(key keyset.PublicKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.theft[key] = true
}

// revoked reports whether a key is revoked by what is current, and was meant to be.
func (o *observer) revoked(key keyset.PublicKey, current keypair.Pair) bool {
	return o.theft[key] && current.Revokes(key.Fingerprint())
}

// look fails the test if some worker that acknowledged does not accept a key that a controller may use, or
// if the keyset in force does not follow from the one before.
func (o *observer) look(when string) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.off {
		return
	}
	current, doc := o.state()
	o.looks++
	if !current.IsZero() {
		o.since[current.PublicKey()] = now
	}
	o.audit(when, doc, now)
	o.r.mu.Lock()
	defer o.r.mu.Unlock()
	for key, seen := range o.since {
		if now.Sub(seen) >= o.r.policy.RetireAfter || o.revoked(key, current) {
			continue
		}
		if doc.Generation > 0 && !holds(doc, key, now) {
			o.r.t.Errorf("%s: keyset generation %d lacks %s, last current %v ago", when, doc.Generation, key.Fingerprint(), now.Sub(seen))
		}
		for _, w := range o.r.workers {
			if w.acked && !w.accepts(key, now) {
				o.r.t.Errorf("%s: worker %s does not accept %s, last current %v ago", when, w.arn, key.Fingerprint(), now.Sub(seen))
			}
		}
	}
}

func holds(k keyset.Keyset, key keyset.PublicKey, now time.Time) bool {
	return slices.ContainsFunc(k.Keys, func(have keyset.Key) bool { return have.PublicKey == key && !have.Elapsed(now) })
}

// audit checks that generations rise and that no key leaves but through retiring.
func (o *observer) audit(when string, doc keyset.Keyset, now time.Time) {
	if doc.Generation == o.last.Generation {
		return
	}
	if doc.Generation < o.last.Generation {
		o.r.t.Errorf("%s: generation fell from %d to %d", when, o.last.Generation, doc.Generation)
	}
	for _, k := range o.last.Keys {
		gone := !slices.ContainsFunc(doc.Keys, func(have keyset.Key) bool { return have.PublicKey == k.PublicKey })
		if gone && !k.Elapsed(now) && !o.revoked(k.PublicKey, o.pair) {
			o.r.t.Errorf("%s: generation %d dropped the %s key %s", when, doc.Generation, k.State, k.PublicKey.Fingerprint())
		}
		listed := slices.ContainsFunc(doc.Retired, func(have keyset.Retired) bool { return have.Fingerprint == k.PublicKey.Fingerprint() })
		if gone && !listed {
			o.r.t.Errorf("%s: generation %d forgot %s", when, doc.Generation, k.PublicKey.Fingerprint())
		}
	}
	o.last = doc
}

// changed says that a secret may have changed.
func (o *observer) changed() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stale = true
}

// state is what is current in both secrets. It is read by calls, but only while the rig is busy, so that
// nobody looks at the looking.
func (o *observer) state() (keypair.Pair, keyset.Keyset) {
	if o.stale {
		o.stale = false
		o.pair = o.r.decode(o.r.value(o.r.arn, "AWSCURRENT"))
		o.doc = o.parse(o.r.value(keysetName, "AWSCURRENT"))
	}
	return o.pair, o.doc
}

func (o *observer) parse(value string) keyset.Keyset {
	doc, err := keyset.Parse([]byte(value))
	if err != nil && value != "{}" && value != "" {
		o.r.t.Errorf("AWSCURRENT of the keyset secret: %v", err)
	}
	return doc
}
