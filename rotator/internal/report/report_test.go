package report

import (
	"errors"
	"html"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/ledger"
)

func TestLeastFavourableAnswerCounts(t *testing.T) {
	for _, test := range []struct {
		answers []ledger.Accepted
		want    ledger.Accepted
	}{
		{nil, ""},
		{[]ledger.Accepted{ledger.Yes, ledger.Yes}, ledger.Yes},
		{[]ledger.Accepted{ledger.Yes, ledger.Unverified}, ledger.Unverified},
		{[]ledger.Accepted{ledger.Unverified, ledger.Yes}, ledger.Unverified},
		{[]ledger.Accepted{ledger.No, ledger.Unverified, ledger.Yes}, ledger.No},
		{[]ledger.Accepted{ledger.Yes, ledger.Unverified, ledger.No}, ledger.No},
	} {
		a := ledger.Ack{}
		for _, accepted := range test.answers {
			a.Users = append(a.Users, ledger.User{Keys: []ledger.KeyStatus{{Fingerprint: "other", Accepted: ledger.No}, {Fingerprint: "asked", Accepted: accepted}}})
		}
		if got := answer(a, "asked"); got != test.want {
			t.Errorf("%v: %q, want %q", test.answers, got, test.want)
		}
	}
}

func TestRotationStateComesFromLabelsAndTheNewestReport(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	labels := func(pending string) Secret {
		return Secret{Versions: []Version{{ID: "a", Labels: []string{LabelCurrent}}, {ID: pending, Labels: []string{LabelPending}, Created: at}}}
	}
	step := func(name, version string, passed bool, after time.Duration) ledger.Report {
		return ledger.Report{VersionID: version, Passed: passed, Phase: name, Message: "m", At: at.Add(after)}
	}
	report := func(version string, passed bool, after time.Duration) ledger.Report {
		return step("testSecret", version, passed, after)
	}
	for name, test := range map[string]struct {
		secret  Secret
		reports []ledger.Report
		want    Rotation
	}{
		"nothing pending":      {Secret{Versions: []Version{{ID: "a", Labels: []string{LabelCurrent}}}}, []ledger.Report{report("a", false, 0)}, Rotation{State: "idle"}},
		"pending is current":   {Secret{Versions: []Version{{ID: "a", Labels: []string{LabelCurrent, LabelPending}}}}, nil, Rotation{State: "idle"}},
		"no report":            {labels("b"), nil, Rotation{State: "in-progress", VersionID: "b", Since: at}},
		"another's failure":    {labels("b"), []ledger.Report{report("a", false, 0)}, Rotation{State: "in-progress", VersionID: "b", Since: at}},
		"failed":               {labels("b"), []ledger.Report{report("b", false, 2), report("b", true, 1)}, Rotation{State: "failing", VersionID: "b", Since: at, Message: "testSecret: m"}},
		"another step passed":  {labels("b"), []ledger.Report{report("b", false, 1), step("setSecret", "b", true, 2)}, Rotation{State: "failing", VersionID: "b", Since: at, Message: "testSecret: m"}},
		"passed after failure": {labels("b"), []ledger.Report{report("b", false, 1), report("b", true, 2)}, Rotation{State: "in-progress", VersionID: "b", Since: at}},
	} {
		if diff := cmp.Diff(test.want, RotationOf(test.secret, test.reports)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestAges(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "0s ago", -time.Second: "0s ago", 99 * time.Second: "99s ago", 100 * time.Second: "1m ago", 3 * time.Hour: "3h ago", 72 * time.Hour: "3d ago",
	} {
		if got := Age(now, now.Add(-d)); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := Age(now, time.Time{}); got != "never" {
		t.Errorf("zero time: %q", got)
	}
	if a, b := Due(now, now.Add(5*time.Minute)), Due(now, now.Add(-5*time.Minute)); a != "in 5m" || b != "5m ago" {
		t.Errorf("%q, %q", a, b)
	}
}

func TestWorkersThatOnlyTheRotatorCountsAreNoted(t *testing.T) {
	e := newEstate(t, 3)
	record := func(phase string, expected, waived int, after time.Duration) ledger.Report {
		return ledger.Report{Phase: phase, Expected: expected, Waived: make([]ledger.Laggard, waived), At: noon.Add(after)}
	}
	for name, test := range map[string]struct {
		records []ledger.Report
		notes   int
	}{
		"nothing counted":      {nil, 0},
		"as many":              {[]ledger.Report{record("testSecret", 2, 1, 0)}, 0},
		"more":                 {[]ledger.Report{record("testSecret", 2, 2, 0)}, 1},
		"more, long ago":       {[]ledger.Report{record("testSecret", 9, 0, -time.Hour), record("finishSecret", 3, 0, 0)}, 0},
		"another kind of step": {[]ledger.Report{record("steady", 9, 0, 0)}, 0},
		"none counted since":   {[]ledger.Report{record("finishSecret", 9, 0, -time.Hour), record("testSecret", 0, 0, 0)}, 1},
	} {
		e.Records = test.records
		if got := New(e.Facts).Notes; len(got) != test.notes {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestTheReportSaysWhereItsWorkersComeFrom(t *testing.T) {
	e := newEstate(t, 0)
	e.Records = []ledger.Report{{Phase: "testSecret", Expected: 2, At: noon}}
	for source, want := range map[string][]string{
		FromTag:     {"no running instance bears the workers' tag", "its settings name regions, accounts, groups or a list that this command was not told", "this is all of one region"},
		FromRotator: {"the rotator has no workers", "it lists the others no longer", "this is all of one region"},
	} {
		e.Inventory, e.Facts.Notes = source, []string{"this is all of one region"}
		r := New(e.Facts)
		var text, page strings.Builder
		if err := errors.Join(r.WriteStatus(&text, Selection{}), r.WriteHTML(&page)); err != nil {
			t.Fatal(err)
		}
		for _, sentence := range want {
			if !strings.Contains(text.String(), sentence) || !strings.Contains(html.UnescapeString(page.String()), sentence) {
				t.Errorf("%s: %q is not said:\n%s", source, sentence, text.String())
			}
		}
		if r.Inventory != source {
			t.Errorf("%s: the inventory is %q", source, r.Inventory)
		}
	}
}
