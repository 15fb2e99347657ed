package rotation

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
)

const testARN = "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh-AbCdEf"

// testKey is the nth key of a fixed series.
func testKey(t testing.TB, n int) keyset.PublicKey {
	t.Helper()
	seed := sha256.Sum256(fmt.Append(nil, "seed", n))
	public, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed[:]).Public())
	if err != nil {
		t.Fatal(err)
	}
	key, err := keyset.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func samePublicKey(a, b keyset.PublicKey) bool { return a == b }

func testVersion(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// TestDesired is a table over letters: key A is of version A, and so on. A published document and the wanted
// one are written as "current pending | retiring … | retired …", with "-" for none; a retiring key's notAfter is "fresh"
// (set by this decision), "old" (set before and not over) or "over".
func TestDesired(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	const retireAfter = 15 * time.Minute
	fresh := now.Add(dateSlack + retireAfter + time.Millisecond)
	old, over := now.Add(time.Minute), now
	number := func(letter string) int { return int(letter[0]) }
	label := func(letter string) labelled {
		if letter == "" {
			return labelled{}
		}
		if letter == "{}" {
			return labelled{versionID: testVersion(0)}
		}
		return labelled{testVersion(number(letter)), testKey(t, number(letter))}
	}
	key := func(state keyset.State, letter string, notAfter time.Time) keyset.Key {
		return keyset.Key{State: state, VersionID: testVersion(number(letter)), PublicKey: testKey(t, number(letter)), NotAfter: notAfter}
	}
	cur := func(l string) keyset.Key { return key(keyset.Current, l, time.Time{}) }
	pen := func(l string) keyset.Key { return key(keyset.Pending, l, time.Time{}) }
	ret := func(l string, at time.Time) keyset.Key { return key(keyset.Retiring, l, at) }
	gone := func(l string) keyset.Retired {
		k := testKey(t, number(l))
		return keyset.Retired{Fingerprint: k.Fingerprint(), VersionID: testVersion(number(l)), PublicKey: k}
	}
	bare := func(l string) keyset.Retired {
		g := gone(l)
		g.PublicKey = keyset.PublicKey{}
		return g
	}
	type keys = []keyset.Key
	type retired = []keyset.Retired
	for _, c := range []struct {
		name                       string
		current, pending, previous string
		published                  keys
		publishedRetired           retired
		want                       keys
		wantRetired                retired
	}{
		{name: "nothing anywhere", current: "{}"},
		{name: "nothing labelled, nothing published"},
		{name: "first key is pending", current: "{}", pending: "A", want: keys{pen("A")}},
		{name: "first key is published and pending", current: "{}", pending: "A", published: keys{pen("A")}, want: keys{pen("A")}},
		{name: "first key has become current", current: "A", published: keys{pen("A")}, want: keys{cur("A")}},
		{name: "first rotation was given up", current: "{}", published: keys{pen("A")}, want: keys{ret("A", fresh)}},
		{name: "a secret that held a key before", current: "A", want: keys{cur("A")}},
		{name: "a secret that was rotated before", current: "B", previous: "A", want: keys{cur("B"), ret("A", fresh)}},
		{name: "a wiped keyset in mid-rotation", current: "B", pending: "C", previous: "A", want: keys{cur("B"), pen("C"), ret("A", fresh)}},
		{name: "previous counts only for a wiped keyset", current: "B", previous: "A", published: keys{cur("B")}, want: keys{cur("B")}},
		{name: "previous is empty", current: "A", previous: "{}", want: keys{cur("A")}},
		{name: "previous is the current key under another version", current: "A", previous: "A", want: keys{cur("A")}},

		{name: "nothing to do", current: "A", published: keys{cur("A")}, want: keys{cur("A")}},
		{name: "rotation begins", current: "A", pending: "B", published: keys{cur("A")}, want: keys{cur("A"), pen("B")}},
		{name: "pending is a copy of current", current: "A", pending: "A", published: keys{cur("A")}, want: keys{cur("A")}},
		{name: "switched", current: "B", published: keys{cur("A"), pen("B")}, want: keys{cur("B"), ret("A", fresh)}},
		{name: "switched, published", current: "B", published: keys{cur("B"), ret("A", old)}, want: keys{cur("B"), ret("A", old)}},
		{name: "switched without having been published", current: "B", published: keys{cur("A")}, want: keys{cur("B"), ret("A", fresh)}},
		{name: "keyset lacks the current key", current: "C", published: keys{cur("A"), pen("B")}, want: keys{cur("C"), ret("A", fresh), ret("B", fresh)}},
		{name: "pending given up", current: "A", published: keys{cur("A"), pen("B")}, want: keys{cur("A"), ret("B", fresh)}},
		{name: "pending replaced", current: "A", pending: "C", published: keys{cur("A"), pen("B")}, want: keys{cur("A"), pen("C"), ret("B", fresh)}},
		{name: "pending comes back", current: "A", pending: "B", published: keys{cur("A"), ret("B", old)}, want: keys{cur("A"), pen("B")}},
		{name: "moved back", current: "A", published: keys{cur("B"), ret("A", old)}, want: keys{cur("A"), ret("B", fresh)}},
		{name: "current was emptied", current: "{}", published: keys{cur("A")}, want: keys{ret("A", fresh)}},
		{name: "current was emptied for long", current: "{}", published: keys{ret("A", over)}, want: keys{ret("A", over)}},

		{name: "time that is over is no reason to publish", current: "B", published: keys{cur("B"), ret("A", over)}, want: keys{cur("B"), ret("A", over)}},
		{name: "next rotation lists what is over", current: "B", pending: "C", published: keys{cur("B"), ret("A", over)},
			want: keys{cur("B"), pen("C")}, wantRetired: retired{gone("A")}},
		{name: "what is not over keeps its end", current: "B", pending: "C", published: keys{cur("B"), ret("A", old)},
			want: keys{cur("B"), pen("C"), ret("A", old)}},
		{name: "ends are each key's own", current: "D", published: keys{cur("C"), pen("D"), ret("B", old), ret("A", over)},
			want: keys{cur("D"), ret("C", fresh), ret("B", old)}, wantRetired: retired{gone("A")}},
		{name: "the newest two retired keys are whole", current: "D", pending: "E", published: keys{cur("D"), ret("C", over)},
			publishedRetired: retired{gone("B"), gone("A")},
			want:             keys{cur("D"), pen("E")}, wantRetired: retired{gone("C"), gone("B"), bare("A")}},
		{name: "a retired key becomes pending", current: "B", pending: "A", published: keys{cur("B")}, publishedRetired: retired{gone("A")},
			want: keys{cur("B"), pen("A")}, wantRetired: retired{}},
		{name: "a retired key becomes current", current: "A", published: keys{cur("B")}, publishedRetired: retired{gone("A")},
			want: keys{cur("A"), ret("B", fresh)}, wantRetired: retired{}},
		{name: "a retiring key that is over becomes current", current: "A", published: keys{cur("B"), ret("A", over)},
			want: keys{cur("A"), ret("B", fresh)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := facts{secretARN: testARN, current: label(c.current), pending: label(c.pending), previous: label(c.previous), now: now, retireAfter: retireAfter}
			if c.published != nil {
				f.published = keyset.Keyset{Schema: keyset.Schema, SecretARN: testARN, Generation: 7, Keys: c.published, Retired: c.publishedRetired}
			}
			got := desired(f)
			if diff := cmp.Diff(c.want, got.Keys, cmp.Comparer(samePublicKey)); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.wantRetired, got.Retired, cmp.Comparer(samePublicKey)); diff != "" && len(c.wantRetired)+len(got.Retired) > 0 {
				t.Errorf("retired (-want +got):\n%s", diff)
			}
			if got.Generation != f.published.Generation {
				t.Errorf("generation is %d, want the published %d", got.Generation, f.published.Generation)
			}
			if len(c.want) > 0 {
				got.Generation = 8
				if err := got.Validate(); err != nil {
					t.Errorf("result is not valid: %v", err)
				}
				f.published = got
				if diff := cmp.Diff(got, desired(f), cmp.Comparer(samePublicKey)); diff != "" {
					t.Errorf("deciding again changes the result (-first +second):\n%s", diff)
				}
			}
		})
	}
}

func TestNotAfterIsAnUpperBound(t *testing.T) {
	// A Date of 12:00:00 may have been written at 12:00:00.999.
	date := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f := facts{
		secretARN: testARN, current: labelled{testVersion(2), testKey(t, 2)}, now: date, retireAfter: time.Minute,
		published: keyset.Keyset{Schema: keyset.Schema, SecretARN: testARN, Generation: 1, Keys: []keyset.Key{
			{State: keyset.Current, VersionID: testVersion(1), PublicKey: testKey(t, 1)},
			{State: keyset.Pending, VersionID: testVersion(2), PublicKey: testKey(t, 2)},
		}},
	}
	old, _ := desired(f).Find(keyset.Retiring)
	if latestFlip := date.Add(999_999_999 * time.Nanosecond); old.NotAfter.Before(latestFlip.Add(time.Minute)) {
		t.Errorf("notAfter %v is less than a minute after %v", old.NotAfter, latestFlip)
	}
}

func TestTheOldestRetiredKeysMakeRoom(t *testing.T) {
	f := facts{
		secretARN: testARN, retireAfter: time.Minute, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
		current:   labelled{testVersion(1), testKey(t, 1)},
		published: keyset.Keyset{Schema: keyset.Schema, SecretARN: testARN, Generation: 1},
	}
	f.published.Keys = []keyset.Key{{State: keyset.Current, VersionID: testVersion(0), PublicKey: testKey(t, 0)}}
	for i := range keyset.MaxRetired {
		sum := sha256.Sum256(fmt.Append(nil, i))
		f.published.Retired = append(f.published.Retired, keyset.Retired{
			Fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]), VersionID: testVersion(100 + i),
		})
	}
	second, third := f.published.Retired[1], f.published.Retired[keyset.MaxRetired-2]
	f.publish(t)
	f.now = f.now.Add(time.Hour)
	f.pending = labelled{testVersion(2), testKey(t, 2)}
	f.publish(t)
	got := f.published.Retired
	if len(got) != keyset.MaxRetired || got[0].PublicKey != testKey(t, 0) || got[2] != second || got[len(got)-1] != third {
		t.Errorf("%d retired keys, first %s, last %s", len(got), got[0].Fingerprint, got[len(got)-1].Fingerprint)
	}
}

// publish makes what is desired the published keyset.
func (f *facts) publish(t testing.TB) {
	t.Helper()
	next := desired(*f)
	if len(next.Keys) > 0 && !keyset.SameContent(next, f.published) {
		next.Generation = f.published.Generation + 1
		if _, err := next.Encode(); err != nil {
			t.Fatalf("keyset generation %d: %v", next.Generation, err)
		}
		f.published = next
	}
}
