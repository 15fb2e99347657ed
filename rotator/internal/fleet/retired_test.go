package fleet_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

func TestRetiredSortsWorkersByWhatTheyProved(t *testing.T) {
	const old = "SHA256:old"
	user := func(state string, accepted ledger.Accepted) ledger.User {
		return ledger.User{Keys: []ledger.KeyStatus{{Fingerprint: "SHA256:other", State: "retired", Accepted: ledger.Yes}, {Fingerprint: old, State: state, Accepted: accepted}}}
	}
	for _, c := range []struct {
		name  string
		users []ledger.User // nil: no acknowledgement
		want  string
	}{
		{"silent", nil, "unknown"},
		{"no accounts", []ledger.User{}, "unknown"},
		{"refused", []ledger.User{user("retired", ledger.No)}, "refused"},
		{"refused by all", []ledger.User{user("retired", ledger.No), user("retired", ledger.No)}, "refused"},
		{"accepted", []ledger.User{user("retired", ledger.Yes)}, "accepting"},
		{"accepted by one of two", []ledger.User{user("retired", ledger.No), user("retired", ledger.Yes)}, "accepting"},
		{"accepted by one, unverified by another", []ledger.User{user("retired", ledger.Unverified), user("retired", ledger.Yes)}, "accepting"},
		{"unverified by one of two", []ledger.User{user("retired", ledger.Unverified), user("retired", ledger.No)}, "unknown"},
		{"not mentioned", []ledger.User{{}}, "unknown"},
		{"accepted while it is retiring", []ledger.User{user("retiring", ledger.Yes)}, "unknown"},
		{"refused while it is retiring", []ledger.User{user("retiring", ledger.No)}, "unknown"},
	} {
		w := worker(1)
		acks := map[string]ledger.Ack{}
		if c.users != nil {
			acks[w.ARN] = ledger.Ack{Worker: w.ARN, Users: c.users}
		}
		r := fleet.Retired([]fleet.Worker{w}, acks, old)
		got := map[string]int{"refused": len(r.Refused), "accepting": len(r.Accepting), "unknown": len(r.Unknown)}
		want := map[string]int{"refused": 0, "accepting": 0, "unknown": 0}
		want[c.want] = 1
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
