package report

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/ledger"
)

func TestTimeToReadyCountsFromThePublicationOverAllThatCount(t *testing.T) {
	e := newEstate(t, 4)
	e.ack(0, 2*time.Second, nil)
	e.ack(1, 4*time.Second, nil)
	e.ack(2, time.Second, failed("no-space", "disk full"))
	r := New(e.Facts)
	four := 4.0
	want := &Convergence{
		Fingerprint: e.pending.Fingerprint(), P50: &four,
		Spread: ledger.Spread{From: e.Beacon.PublishedAt, Of: 4, Done: 2, Seconds: []float64{2, 4}},
	}
	if diff := cmp.Diff(want, r.Ready); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	e.Waivers = []ledger.Waiver{{Worker: e.Workers[2].ID, Until: noon.Add(time.Hour)}, {Worker: e.Workers[3].ID, Until: noon.Add(time.Hour)}}
	r = New(e.Facts)
	if r.Ready.Of != 2 || r.Ready.P99 == nil || *r.Ready.P99 != 4 {
		t.Errorf("with two waived: %+v", r.Ready)
	}
	if r.Summary.Waived != 2 || r.Summary.Expected != 2 || len(r.Summary.NotReady) != 0 {
		t.Errorf("with two waived: %+v", r.Summary)
	}
	e.Beacon.Generation = 6
	if r = New(e.Facts); r.Ready != nil {
		t.Errorf("the publication's time is not known, but %+v", r.Ready)
	}
}

// TestAfterTheSwitchTheRecordCounts: workers have acknowledged another keyset since.
func TestAfterTheSwitchTheRecordCounts(t *testing.T) {
	e := newEstate(t, 2)
	e.promote(time.Hour)
	e.ack(0, time.Minute, nil)
	spread := ledger.NewSpread(noon.Add(-time.Minute), 2, []time.Time{noon, noon})
	other := ledger.NewSpread(noon, 7, nil)
	record := func(phase, version string, s *ledger.Spread, at time.Duration) ledger.Report {
		return ledger.Report{Phase: phase, VersionID: version, Spread: s, At: noon.Add(at)}
	}
	e.Records = []ledger.Report{
		record("testSecret", "version-new", nil, 3), record("testSecret", "version-old", &other, 2), record("steady", "version-new", &other, 1), record("testSecret", "version-new", &spread, 0),
	}
	r := New(e.Facts)
	if r.Ready == nil || r.Ready.Of != 2 || *r.Ready.P99 != 60 || r.Ready.Fingerprint != e.pending.Fingerprint() {
		t.Errorf("ready: %+v", r.Ready)
	}
	if r.Retired != nil {
		t.Errorf("the old key's time is not over, but %+v", r.Retired)
	}
	e.Records = nil
	if r = New(e.Facts); r.Ready != nil {
		t.Errorf("without a record: %+v", r.Ready)
	}
}

func TestTimeToRetiredCountsFromTheOldKeysEnd(t *testing.T) {
	e := newEstate(t, 3)
	e.promote(-20 * time.Second)
	e.ack(0, 13*time.Second, nil) // published 30 s before noon
	e.ack(1, 15*time.Second, func(a *ledger.Ack) { a.Users[0].Keys[1].Accepted = ledger.Yes })
	r := New(e.Facts)
	want := ledger.Spread{From: noon.Add(-20 * time.Second), Of: 3, Done: 1, Seconds: []float64{3}}
	if r.Retired == nil {
		t.Fatal("nothing is known")
	}
	if diff := cmp.Diff(want, r.Retired.Spread); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s := r.Summary; s.OldKeyRefused != 1 || s.OldKeyAllowed != 1 || s.OldKeyUnknown != 1 {
		t.Errorf("%+v", s)
	}
}
