package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/ledger"
)

// at is a record of so many minutes after noon.
func at(minutes int, phase, version string, generation int64, change ...func(*ledger.Report)) ledger.Report {
	record := ledger.Report{Phase: phase, VersionID: version, Generation: generation, Passed: true, At: noon.Add(time.Duration(minutes) * time.Minute)}
	for _, c := range change {
		c(&record)
	}
	return record
}

func failures(n int) func(*ledger.Report) {
	return func(r *ledger.Report) { r.Passed, r.Failures = false, n }
}

func counts(ready, expected int) func(*ledger.Report) {
	return func(r *ledger.Report) { r.Ready, r.Expected = ready, expected }
}

func by(who string) func(*ledger.Report) { return func(r *ledger.Report) { r.Asked = who } }

func whole(version string, from int, generation int64) []ledger.Report {
	return []ledger.Report{
		at(from, "setSecret", version, generation), at(from+1, "testSecret", version, generation, counts(3, 3)),
		at(from+2, "finishSecret", version, generation+1, counts(3, 3)),
	}
}

// labels gives a secret with these versions under AWSCURRENT, AWSPENDING and AWSPREVIOUS; "" for none.
func labels(current, pending, previous string) Secret {
	var s Secret
	for label, version := range map[string]string{LabelCurrent: current, LabelPending: pending, LabelPrevious: previous} {
		if version != "" {
			s.Versions = append(s.Versions, Version{ID: version, Labels: []string{label}})
		}
	}
	return s
}

// brief is a history in a few words: version, outcome, failures, phases.
func brief(history []Past) (lines []string) {
	for _, p := range history {
		var phases []string
		for _, record := range p.Records {
			phases = append(phases, record.Phase)
		}
		lines = append(lines, fmt.Sprintf("%s %s %v %s", p.VersionID, p.Outcome, p.Failed, strings.Join(phases, " ")))
	}
	return lines
}

func TestRecordsAreGroupedByRotation(t *testing.T) {
	for name, test := range map[string]struct {
		secret  Secret
		records [][]ledger.Report
		want    []string
	}{
		"one that went well": {
			labels("a", "", ""), [][]ledger.Report{whole("a", 0, 1), {at(9, "steady", "a", 2, counts(3, 3))}},
			[]string{"a switched [] steady finishSecret testSecret setSecret"},
		},
		"one that was asked for, and failed before": {
			labels("b", "", "a"), [][]ledger.Report{whole("a", 0, 1), {at(9, "steady", "a", 2), at(20, "requested", "b", 2, by("ann: INC")), at(21, "setSecret", "b", 3),
				at(25, "testSecret", "b", 3, counts(3, 3), func(r *ledger.Report) { r.Failures = 2 }), at(26, "finishSecret", "b", 3, failures(1)), at(27, "finishSecret", "b", 4, counts(3, 3))}},
			[]string{"b switched [{testSecret 2} {finishSecret 1}] finishSecret finishSecret testSecret setSecret requested", "a switched [] steady finishSecret testSecret setSecret"},
		},
		"one that is failing": {
			labels("a", "b", ""), [][]ledger.Report{whole("a", 0, 1), {at(21, "setSecret", "b", 3), at(22, "testSecret", "b", 3, failures(3), counts(1, 3))}},
			[]string{"b failing [{testSecret 3}] testSecret setSecret", "a switched [] finishSecret testSecret setSecret"},
		},
		"one under way": {
			labels("a", "b", ""), [][]ledger.Report{{at(21, "setSecret", "b", 3)}},
			[]string{"b in-progress [] setSecret"},
		},
		"one that was aborted, whose key is filed under another version": {
			labels("a", "", ""), [][]ledger.Report{whole("a", 0, 1), {at(9, "steady", "a", 2), at(21, "setSecret", "b", 3), at(22, "abort", "b", 4, by("ann: no")), at(40, "steady", "a", 4)}},
			[]string{"b aborted [] steady abort setSecret", "a switched [] steady finishSecret testSecret setSecret"},
		},
		"one whose label went elsewhere": {
			labels("a", "", ""), [][]ledger.Report{whole("a", 0, 1), {at(21, "setSecret", "b", 3), at(22, "testSecret", "b", 3, failures(1))}},
			[]string{"b abandoned [{testSecret 1}] testSecret setSecret", "a switched [] finishSecret testSecret setSecret"},
		},
		"a rollback, to the version of an earlier one": {
			labels("a", "", "b"), [][]ledger.Report{whole("a", 0, 1), whole("b", 10, 3), whole("a", 20, 5), {at(23, "rollback", "a", 6, by("ann: no")), at(40, "steady", "a", 6)}},
			[]string{"a rolled-back [] steady rollback finishSecret testSecret setSecret", "b switched [] finishSecret testSecret setSecret", "a switched [] finishSecret testSecret setSecret"},
		},
		"a rollback that is under way": {
			labels("b", "a", "a"), [][]ledger.Report{whole("a", 0, 1), whole("b", 10, 3), {at(20, "setSecret", "a", 5)}},
			[]string{"a in-progress [] setSecret", "b switched [] finishSecret testSecret setSecret", "a switched [] finishSecret testSecret setSecret"},
		},
		"a revocation": {
			labels("r", "", "a"), [][]ledger.Report{whole("a", 0, 1), whole("r", 10, 3), {at(13, "revoke", "r", 4, by("ann: stolen"))}},
			[]string{"r revoked [] revoke finishSecret testSecret setSecret", "a switched [] finishSecret testSecret setSecret"},
		},
		"a request that was refused": {
			labels("a", "", ""), [][]ledger.Report{whole("a", 0, 1), {at(20, "request-refused", "", 2, failures(1), by("bob: x")), at(30, "steady", "a", 2)}},
			[]string{" refused [] request-refused", "a switched [] steady finishSecret testSecret setSecret"},
		},
		"one of which only the end is left": {
			labels("b", "", "a"), [][]ledger.Report{{at(9, "steady", "x", 2)}, whole("b", 10, 3)},
			[]string{"b switched [] finishSecret testSecret setSecret", "x switched [] steady"},
		},
	} {
		var f Facts
		f.Secret, f.Now = test.secret, noon.Add(time.Hour)
		for _, some := range test.records {
			f.Records = append(f.Records, some...)
		}
		if diff := cmp.Diff(test.want, brief(New(f).History)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestALineOfTheHistoryTellsWhatAnOperatorAsks(t *testing.T) {
	spread := ledger.NewSpread(noon, 4, []time.Time{noon.Add(time.Second), noon.Add(2 * time.Second), noon.Add(2 * time.Second), noon.Add(3 * time.Second)})
	f := Facts{Now: noon.Add(26 * time.Hour), Secret: labels("b", "", "a"), Records: []ledger.Report{
		at(0, "requested", "b", 2, by("ann: INC-1")), at(1, "setSecret", "b", 3),
		at(5, "testSecret", "b", 3, counts(4, 4), func(r *ledger.Report) { r.Spread, r.Failures, r.Since = &spread, 2, noon.Add(2*time.Minute) }),
		at(6, "finishSecret", "b", 4, counts(4, 4), func(r *ledger.Report) { r.Waived = make([]ledger.Laggard, 1) }),
		at(25, "steady", "b", 4, failures(9), counts(3, 5)),
		at(60, "setSecret", "c", 5, func(r *ledger.Report) { r.Since = noon.Add(50 * time.Minute) }), at(62, "abort", "c", 6, by("bob: wrong type")),
	}}
	r := New(f)
	want := [][]string{
		{"2030-01-02 12:50:00Z, 25h ago", "aborted by bob: wrong type", "", "", "no record", "12m", "Secrets Manager", "c"},
		{"2030-01-02 12:00:00Z, 26h ago", "switched (testSecret failed 2 times)", "4 of 4, 1 waived", "3.0s", "3, 2 NOT", "6m", "ann: INC-1", "b"},
	}
	for i, p := range r.History {
		if diff := cmp.Diff(want[i], r.cells(p)); diff != "" {
			t.Errorf("line %d (-want +got):\n%s", i, diff)
		}
	}
	f.Records[4] = at(25, "steady", "b", 4, counts(5, 5))
	if again := New(f); again.refusing(again.History[1]) != "all 5" {
		t.Errorf("old key refused by %q", again.refusing(again.History[1]))
	}
	r.OldKey = &OldKey{NotAfter: noon.Add(48 * time.Hour)}
	if got := r.refusing(r.History[0]); got != "not yet" {
		t.Errorf("old key, whose time is not over, refused by %q", got)
	}
	if only := r.Only(Selection{}); only.History[1].Records != nil || len(r.History[1].Records) != 5 {
		t.Errorf("%d records instead of none, %d left of 5", len(only.History[1].Records), len(r.History[1].Records))
	}
}
