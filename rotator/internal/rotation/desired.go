package rotation

import (
	"slices"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/rotator/internal/safeguard"
)

// wholeKeys is how many retired keys keep their whole public key in the document: a worker can test that
// its sshd refuses a key only if it has all of it, and the document has a limit.
const wholeKeys = 2

// dateSlack covers what AWS's Date header cuts off: it has whole seconds, and a Clock built on it may lag.
const dateSlack = time.Second

// labelled is the key of the version that a label marks; the zero value if there is none.
type labelled struct {
	versionID string
	public    keyset.PublicKey
}

func (l labelled) none() bool { return l.public.IsZero() }

// facts are all that decides what ought to be published.
type facts struct {
	secretARN string
	current   labelled // AWSCURRENT
	pending   labelled // AWSPENDING, where it marks another version than AWSCURRENT
	previous  labelled // AWSPREVIOUS; it counts only while nothing has been published yet
	published keyset.Keyset
	// revoked are the fingerprints that AWSCURRENT's version revokes.
	revoked []string
	// now is a lower bound of AWS's time that lags by less than dateSlack.
	now         time.Time
	retireAfter time.Duration
}

// desired decides the document: AWSCURRENT's key is current, AWSPENDING's is pending, and every other key
// that has been published is retiring until it is retired. No key leaves at once: one that is no longer
// current or pending, whatever became of it, stays accepted for retireAfter, since somebody may be using it.
// The exception is a key that AWSCURRENT's version revokes. It is retired at once and stays listed for as
// long as the secret remembers it, and neither a label nor a keyset that was wiped brings it back; unless
// AWSCURRENT itself marks it, since there must be a key to log in with.
//
// What is already published comes back unchanged if it says all that. A key whose time is over moves to the
// retired ones only in a document that is due for another reason: workers drop it at its notAfter without
// being told, and each publication is a version of the secret and a wake-up of the fleet. The result has
// the published generation; it has no keys if there is nothing to publish.
func desired(f facts) keyset.Keyset {
	next := keyset.Keyset{Schema: keyset.Schema, SecretARN: f.secretARN, Generation: f.published.Generation}
	next.Keys = append(f.used(), f.unused()...)
	next.Retired = f.retired(next.Keys)
	next = arranged(next)
	if len(next.Keys) == 0 || keyset.SameContent(next, f.published) {
		return f.published
	}
	next = next.Effective(f.now)
	for i := range next.Retired {
		if i >= wholeKeys {
			next.Retired[i].PublicKey = keyset.PublicKey{}
		}
	}
	return next
}

// used are the keys that labels mark.
func (f facts) used() []keyset.Key {
	var keys []keyset.Key
	if !f.current.none() {
		keys = append(keys, keyset.Key{State: keyset.Current, VersionID: f.current.versionID, PublicKey: f.current.public})
	}
	if !f.pending.none() && f.pending.public != f.current.public && !f.revokes(f.pending.public) {
		keys = append(keys, keyset.Key{State: keyset.Pending, VersionID: f.pending.versionID, PublicKey: f.pending.public})
	}
	return keys
}

func (f facts) revokes(key keyset.PublicKey) bool {
	return safeguard.Revoke && slices.Contains(f.revoked, key.Fingerprint())
}

// known are the keys that have been published, as they were.
func (f facts) known() []keyset.Key {
	if len(f.published.Keys) > 0 || f.previous.none() {
		return f.published.Keys
	}
	return []keyset.Key{{State: keyset.Current, VersionID: f.previous.versionID, PublicKey: f.previous.public}}
}

// unused are the published keys that no label marks any more and that are not revoked. The notAfter of one
// that is retiring already stays as it is.
func (f facts) unused() []keyset.Key {
	var keys []keyset.Key
	for _, k := range f.known() {
		if k.PublicKey == f.current.public || k.PublicKey == f.pending.public || f.revokes(k.PublicKey) {
			continue
		}
		if k.State == keyset.Pending && !safeguard.Orphan {
			continue
		}
		if k.State != keyset.Retiring {
			k.State, k.NotAfter = keyset.Retiring, f.notAfter()
		}
		keys = append(keys, k)
	}
	return keys
}

// retired are the keys that were retired and are not among those in use, after the ones that are revoked
// now. Revoked keys of which only the fingerprint is known follow the newest, whose whole keys count.
func (f facts) retired(used []keyset.Key) []keyset.Retired {
	var list []keyset.Retired
	listed := make(map[string]bool)
	for _, k := range used {
		listed[k.PublicKey.Fingerprint()] = true
	}
	add := func(r keyset.Retired) {
		if !listed[r.Fingerprint] {
			listed[r.Fingerprint] = true
			list = append(list, r)
		}
	}
	for _, k := range f.known() {
		if f.revokes(k.PublicKey) {
			add(keyset.Retired{Fingerprint: k.PublicKey.Fingerprint(), VersionID: k.VersionID, PublicKey: k.PublicKey})
		}
	}
	for _, r := range f.published.Retired {
		add(r)
	}
	newest := len(list)
	for _, fingerprint := range f.revoked {
		add(keyset.Retired{Fingerprint: fingerprint})
	}
	forgotten := slices.Clone(list[newest:])
	list = slices.Insert(list[:newest], min(newest, wholeKeys), forgotten...)
	return list[:min(len(list), keyset.MaxRetired)]
}

func (f facts) notAfter() time.Time {
	end := f.now.Add(dateSlack + f.retireAfter)
	return end.Truncate(time.Millisecond).Add(time.Millisecond).UTC()
}
