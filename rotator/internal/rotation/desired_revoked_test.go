package rotation

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
)

func TestRevokedKeysNeverHaveAGraceAndStayListed(t *testing.T) {
	key := func(n int) labelled { return labelled{testVersion(n), testKey(t, n)} }
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f := facts{secretARN: testARN, current: key(1), pending: key(2), now: now, retireAfter: time.Hour}
	publish := func() keyset.Keyset {
		next := desired(f)
		next.Generation = f.published.Generation + 1
		if err := next.Validate(); err != nil {
			t.Fatal(err)
		}
		return next
	}
	state := func(k keyset.Keyset, l labelled) string {
		for _, have := range k.Keys {
			if have.PublicKey == l.public {
				return string(have.State)
			}
		}
		if slices.ContainsFunc(k.Retired, func(r keyset.Retired) bool { return r.Fingerprint == l.public.Fingerprint() }) {
			return "retired"
		}
		return "unknown"
	}
	f.published = publish()
	f.previous, f.current, f.pending = key(1), key(2), labelled{}
	f.revoked = []string{key(1).public.Fingerprint(), key(9).public.Fingerprint()}
	f.published = publish()
	if state(f.published, key(1)) != "retired" || state(f.published, key(9)) != "retired" || f.published.Retired[0].PublicKey != key(1).public {
		t.Errorf("after the switch: %+v", f.published)
	}
	f.pending = key(1) // a label is no way back
	if again := desired(f); !keyset.SameContent(again, f.published) {
		t.Errorf("a label brought it back: %+v", again)
	}
	f.pending = labelled{}
	f.published = keyset.Keyset{} // wiped
	if again := publish(); state(again, key(1)) != "retired" || state(again, key(9)) != "retired" {
		t.Errorf("after the keyset was wiped: %+v", again)
	}
	f.current = key(1) // by hand: there must be a key to log in with
	if again := publish(); state(again, key(1)) != "current" {
		t.Errorf("AWSCURRENT's own key is %s", state(again, key(1)))
	}
}

func TestRevokedKeysAreListedEvenIfTheListIsFull(t *testing.T) {
	current := labelled{testVersion(1), testKey(t, 1)}
	f := facts{secretARN: testARN, current: current, now: time.Now(), retireAfter: time.Hour}
	f.published = keyset.Keyset{Schema: keyset.Schema, SecretARN: testARN, Generation: 1, Keys: []keyset.Key{{State: keyset.Current, VersionID: current.versionID, PublicKey: current.public}}}
	for i := range keyset.MaxRetired {
		f.published.Retired = append(f.published.Retired, keyset.Retired{Fingerprint: fmt.Sprintf("SHA256:%042dA", i)})
	}
	f.revoked = []string{testKey(t, 2).Fingerprint()}
	next := desired(f)
	if err := next.Validate(); err != nil {
		t.Fatal(err)
	}
	if len(next.Retired) != keyset.MaxRetired || next.Retired[wholeKeys].Fingerprint != f.revoked[0] {
		t.Errorf("%d are listed, and the third is %s", len(next.Retired), next.Retired[wholeKeys].Fingerprint)
	}
	f.published = next
	if again := desired(f); !keyset.SameContent(again, next) {
		t.Error("it is published again and again")
	}
}
