package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/ledger"
)

// golden compares with testdata/name. ROTATESSH_TEST_UPDATE=1 writes it instead.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("ROTATESSH_TEST_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// motley is a rotation that fails for several reasons, among them hostile ones.
func motley(t testing.TB) Facts {
	e := newEstate(t, 8)
	e.ack(0, 1500*time.Millisecond, nil)
	e.ack(1, 2*time.Second, func(a *ledger.Ack) { a.Pushed, a.AgentVersion = true, "" })
	e.ack(2, 3*time.Second, failed("no-space", "user ec2-user: writing: no space left on device"))
	e.ack(3, 3*time.Second, failed("no-space", "user ec2-user: writing: no space left on device"))
	e.ack(4, 3*time.Second, failed("\x1b]0;owned\a", "\x1b[2J\u202egnp.exe"))
	e.ack(5, 4*time.Second, func(a *ledger.Ack) { a.Users[0].Keys[2].Accepted = ledger.Yes })
	e.Workers[7].Launched = noon.Add(-10 * time.Second)
	e.Waivers = []ledger.Waiver{{Worker: e.Workers[6].ID, Actor: "arn:aws:iam::111122223333:user/alice", Reason: "disk on order", Until: noon.Add(24 * time.Hour)}}
	spread := ledger.NewSpread(e.Beacon.PublishedAt, 6, []time.Time{noon.Add(-58 * time.Second)})
	e.Records = []ledger.Report{
		{Phase: "setSecret", VersionID: "version-new", Generation: 7, Passed: true, Message: "the pending key is published", At: noon.Add(-time.Minute)},
		{
			Phase: "testSecret", VersionID: "version-new", Generation: 7, Message: "the fleet is not ready: 2 of 7 workers are ready", At: noon.Add(-5 * time.Second),
			Asked: "arn:aws:iam::111122223333:user/alice: INC-1", Expected: 7, Ready: 2, Reasons: map[string]int{"failed:no-space": 2}, Spread: &spread,
			Laggards: []ledger.Laggard{{Worker: e.Workers[2].ARN, Code: "failed:no-space", Message: "no space\x00left"}},
			Waived:   []ledger.Laggard{{Worker: e.Workers[6].ARN, Code: "silent", Message: "waived until tomorrow"}},
			Pushed:   []ledger.Laggard{{Worker: e.Workers[1].ARN, Code: "pushed", Message: "by Systems Manager"}},
		},
		{
			Phase: "steady", VersionID: "version-old", Generation: 6, Message: "7 of 8 workers refuse the old key", At: noon.Add(-719 * time.Hour),
			Expected: 8, Ready: 7, Reasons: map[string]int{"unknown": 1}, Laggards: laggards(12),
		},
	}
	return e.Facts
}

func laggards(n int) (list []ledger.Laggard) {
	for i := range n {
		list = append(list, ledger.Laggard{Worker: fmt.Sprintf("arn:aws:ec2:us-east-1:111122223333:instance/i-%08x", i), Code: "unknown", Message: "it has not acknowledged that its sshd refuses the old key"})
	}
	return list
}

func TestTextOfAReport(t *testing.T) {
	var out strings.Builder
	if err := New(motley(t)).WriteText(&out, Selection{Limit: 7}); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.txt", out.String())
}

func TestTextOfAHistoryWithItsRecords(t *testing.T) {
	r := New(motley(t))
	p := printer{w: &strings.Builder{}, r: r}
	p.history(true)
	golden(t, "history.txt", p.w.(*strings.Builder).String())
}

func TestTextOfTheStatusOfASteadyFleet(t *testing.T) {
	e := newEstate(t, 2)
	e.promote(-20 * time.Second)
	e.ack(0, 11*time.Second, nil)
	e.ack(1, 12*time.Second, nil)
	e.Secret.NextRotation = noon.Add(720 * time.Hour)
	var out strings.Builder
	if err := New(e.Facts).WriteStatus(&out, Selection{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "status.txt", out.String())
}

func TestTextOfNothing(t *testing.T) {
	var out strings.Builder
	if err := New(Facts{Now: noon}).WriteText(&out, Selection{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "nothing.txt", out.String())
}

func TestProgressOfARotation(t *testing.T) {
	var out strings.Builder
	New(motley(t)).WriteProgress(&out, 80)
	golden(t, "progress.txt", out.String())
}

// TestTextHasNoControlCharacters is about what workers and operators write.
func TestTextHasNoControlCharacters(t *testing.T) {
	hostile := "\x1b[31m\u009b2J\u202e\u2066\a\r"
	e := newEstate(t, 1)
	e.ack(0, time.Second, func(a *ledger.Ack) {
		a.Outcome, a.Code, a.Message, a.AgentVersion, a.Banner = ledger.Failed, hostile, hostile, hostile, hostile
		a.Users[0].Keys[1].Accepted = ledger.Accepted(hostile)
	})
	e.Workers[0].Name = hostile
	e.Waivers = []ledger.Waiver{{Worker: e.Workers[0].ID, Actor: hostile, Reason: hostile, Until: noon.Add(time.Hour)}}
	e.Records = []ledger.Report{{Phase: "testSecret", VersionID: "version-new", Message: hostile, Asked: hostile, Expected: 1, Reasons: map[string]int{hostile: 1},
		Laggards: []ledger.Laggard{{Worker: "w", Code: hostile, Message: hostile}}}}
	r := New(e.Facts)
	var out strings.Builder
	if err := r.WriteText(&out, Selection{Records: true}); err != nil {
		t.Fatal(err)
	}
	r.WriteProgress(&out, 80)
	out.WriteString(r.Stage())
	if i := strings.IndexAny(out.String(), "\x1b\u009b\u202e\u2066\a\r"); i >= 0 {
		t.Errorf("a control character in %q", out.String()[max(0, i-40):i+10])
	}
}

func TestSelectionIsByStateAndLimit(t *testing.T) {
	r := New(motley(t))
	for _, c := range []struct {
		s    Selection
		want string
	}{
		{Selection{}, "5 2 3 4 6 7 0 1 +0"},
		{Selection{Limit: 3}, "5 2 3 +5"},
		{Selection{State: "ready"}, "5 0 1 +0"},
		{Selection{State: "failed:no-space", Limit: 1}, "2 +1"},
		{Selection{State: "failed"}, "2 3 4 +0"},
		{Selection{State: "waived"}, "6 +0"},
		{Selection{State: "pushed"}, "1 +0"},
		{Selection{State: "other"}, "+0"},
	} {
		rows, more := r.Select(c.s)
		got := ""
		for _, w := range rows {
			got += w.ID[len(w.ID)-1:] + " "
		}
		if got += fmt.Sprintf("+%d", more); got != c.want {
			t.Errorf("%+v: %s, want %s", c.s, got, c.want)
		}
	}
}
