package main

import (
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
	f := fleetState{published: true, acks: make(map[string]ledger.Ack), doc: keystore.Document{ARN: "keyset", VersionID: "v", Keyset: keyset.Keyset{
		Generation: 7,
		Keys: []keyset.Key{
			{State: keyset.Current, VersionID: "new", PublicKey: current},
			{State: keyset.Retiring, VersionID: "old", PublicKey: old, NotAfter: end},
		},
		Retired: []keyset.Retired{{Fingerprint: older.Fingerprint()}},
	}}}
	add := func(id string, generation int64, retired string, accepted ledger.Accepted) {
		f.workers = append(f.workers, fleet.Worker{ARN: id, ID: id})
		f.acks[id] = ledger.Ack{
			KeysetARN: "keyset", KeysetVersionID: "v", Generation: generation, Outcome: ledger.Applied, Port: 22, HostKeys: []string{"k"},
			Users: []ledger.User{{Name: "u", Fingerprints: []string{current.Fingerprint()}, Keys: []ledger.KeyStatus{
				{Fingerprint: current.Fingerprint(), State: "current", Accepted: ledger.Yes}, {Fingerprint: retired, State: "retired", Accepted: accepted},
			}}},
		}
	}
	add("refuses", 7, old.Fingerprint(), ledger.No)
	add("accepts", 7, old.Fingerprint(), ledger.Yes)
	add("asleep", 6, older.Fingerprint(), ledger.No)
	f.workers = append(f.workers, fleet.Worker{ARN: "silent", ID: "silent"})

	for name, test := range map[string]struct {
		now     time.Time
		old     oldKeyInfo
		refused []string
		summary summaryInfo
	}{
		"before": {end.Add(-time.Second), oldKeyInfo{old.Fingerprint(), "old", end}, []string{"not-yet", "not-yet", "not-yet", "not-yet"},
			summaryInfo{Workers: 4, Ready: 2, Accepted: 3, NotReady: map[string]int{"behind": 1, "silent": 1}}},
		"after": {end, oldKeyInfo{Fingerprint: old.Fingerprint(), VersionID: "old"}, []string{"yes", "no", "unknown", "unknown"},
			summaryInfo{Workers: 4, Ready: 2, Accepted: 3, OldKeyRefused: 1, NotReady: map[string]int{"behind": 1, "silent": 1}}},
	} {
		if diff := cmp.Diff(&test.old, oldKey(f.doc.Keyset, test.now)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		rows := f.rows("", test.now)
		var refused []string
		for _, row := range rows {
			refused = append(refused, row.OldKeyRefused)
		}
		if diff := cmp.Diff(test.refused, refused); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(test.summary, summarise(rows)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
