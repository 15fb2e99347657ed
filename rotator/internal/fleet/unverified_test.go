package fleet_test

import (
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

func TestASilentSSHDCountsOnlyWhereItIsAllowedAndAsSilentAboutBothKeys(t *testing.T) {
	for _, c := range []struct {
		name             string
		allowed          bool
		current, pending ledger.Accepted
		want             string
		shown            bool
	}{
		{"not allowed", false, ledger.Unverified, ledger.Unverified, "unverified", false},
		{"allowed", true, ledger.Unverified, ledger.Unverified, "", true},
		{"it tells about the current key", true, ledger.Yes, ledger.Unverified, "unverified", false},
		{"it refuses the current key", true, ledger.No, ledger.Unverified, "unverified", false},
		{"it refuses the pending key", true, ledger.Unverified, ledger.No, "refused", false},
		{"an answer that nobody knows", true, ledger.Unverified, "perhaps", "unverified", false},
		{"it accepts the pending key", true, ledger.Unverified, ledger.Yes, "", false},
	} {
		w, q := worker(1), question(t)
		q.AllowUnverified = c.allowed
		ack := readyAck(t, w)
		ack.Users[0].Keys[0].Accepted, ack.Users[0].Keys[1].Accepted = c.current, c.pending
		r := fleet.Assess([]fleet.Worker{w}, map[string]ledger.Ack{w.ARN: ack}, q)
		code := ""
		if len(r.Laggards) > 0 {
			code = r.Laggards[0].Code
		}
		shown := strings.Contains(r.Summary(), "1 without a word of their sshd, as the settings allow: "+w.ID)
		if code != c.want || shown != c.shown || shown != (len(r.Unverified) == 1) {
			t.Errorf("%s: code %q, %s", c.name, code, r.Summary())
		}
	}
}

func TestASilentSSHDMayCountForTheFirstKey(t *testing.T) {
	w, q := worker(1), question(t)
	q.AllowUnverified, q.Document.Keyset.Keys = true, q.Document.Keyset.Keys[1:]
	ack := readyAck(t, w)
	ack.Users[0].Keys[1].Accepted = ledger.Unverified
	if r := fleet.Assess([]fleet.Worker{w}, map[string]ledger.Ack{w.ARN: ack}, q); len(r.Unverified) != 1 {
		t.Errorf("readiness is %+v", r)
	}
}
