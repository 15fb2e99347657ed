package report

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient/sshdtest"
)

func publicKey(t *testing.T) keyset.PublicKey {
	t.Helper()
	_, signer := sshdtest.NewKey(t, "ed25519")
	key, err := keyset.NewPublicKey(signer.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestRowsFollowTheOldKeyToItsEnd looks at the same fleet before and after the old key's time is over.
func TestRowsFollowTheOldKeyToItsEnd(t *testing.T) {
	end := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	current, old, older := publicKey(t), publicKey(t), publicKey(t)
	f := Facts{Published: true, Acks: make(map[string]ledger.Ack), Document: keystore.Document{ARN: "keyset", VersionID: "v", Keyset: keyset.Keyset{
		Generation: 7,
		Keys: []keyset.Key{
			{State: keyset.Current, VersionID: "new", PublicKey: current},
			{State: keyset.Retiring, VersionID: "old", PublicKey: old, NotAfter: end},
		},
		Retired: []keyset.Retired{{Fingerprint: older.Fingerprint()}},
	}}}
	add := func(id string, generation int64, retired string, accepted ledger.Accepted) {
		f.Workers = append(f.Workers, fleet.Worker{ARN: id, ID: id})
		f.Acks[id] = ledger.Ack{
			KeysetARN: "keyset", KeysetVersionID: "v", Generation: generation, Outcome: ledger.Applied, Port: 22, HostKeys: []string{"k"},
			Users: []ledger.User{{Name: "u", Fingerprints: []string{current.Fingerprint()}, Keys: []ledger.KeyStatus{
				{Fingerprint: current.Fingerprint(), State: "current", Accepted: ledger.Yes}, {Fingerprint: retired, State: "retired", Accepted: accepted},
			}}},
		}
	}
	add("refuses", 7, old.Fingerprint(), ledger.No)
	add("accepts", 7, old.Fingerprint(), ledger.Yes)
	add("asleep", 6, older.Fingerprint(), ledger.No)
	f.Workers = append(f.Workers, fleet.Worker{ARN: "silent", ID: "silent"})

	for name, test := range map[string]struct {
		now     time.Time
		old     OldKey
		refused string
		summary Summary
	}{
		"before": {end.Add(-time.Second), OldKey{old.Fingerprint(), "old", end}, "asleep not-yet, silent not-yet, refuses not-yet, accepts not-yet",
			Summary{Workers: 4, Expected: 4, Ready: 2, Accepted: 3, NotReady: map[string]int{"behind": 1, "silent": 1}}},
		"after": {end, OldKey{Fingerprint: old.Fingerprint(), VersionID: "old"}, "accepts no, asleep unknown, silent unknown, refuses yes",
			Summary{Workers: 4, Expected: 4, Ready: 2, Accepted: 3, OldKeyRefused: 1, OldKeyAllowed: 1, OldKeyUnknown: 2, NotReady: map[string]int{"behind": 1, "silent": 1}}},
	} {
		if diff := cmp.Diff(&test.old, oldKeyOf(f.Document.Keyset, test.now)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		f.Now = test.now
		rows := f.rows()
		var refused []string
		for _, row := range rows {
			refused = append(refused, row.ID+" "+row.OldKeyRefused)
		}
		if diff := cmp.Diff(test.refused, strings.Join(refused, ", ")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(test.summary, summarise(rows)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
