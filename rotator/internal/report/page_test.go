package report

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/ledger"
)

// hostile is text that would do something if it got out of its place anywhere in the page.
const hostile = `</script></style></title><script>window.pwned=1</script><img src=x onerror="window.pwned=1">"'` + "`" + `{{.}}${pwned}<!--\u003cscript\u003e` + "\u2028"

// hostileEstate has it wherever a worker, an operator or a tag can put it.
func hostileEstate(t testing.TB) *estate {
	e := newEstate(t, 3)
	e.ack(0, time.Second, func(a *ledger.Ack) {
		a.Outcome, a.Code, a.Message, a.AgentVersion, a.Banner = ledger.Failed, hostile, hostile, hostile, hostile
		a.Users[0].Keys[1].Accepted = ledger.Accepted(hostile)
	})
	e.ack(1, 2*time.Second, nil)
	e.Workers[0].Name, e.Workers[0].Zone, e.Workers[0].Address = hostile, hostile, hostile
	e.Secret.Name = hostile
	e.Waivers = []ledger.Waiver{{Worker: e.Workers[2].ID, Actor: hostile, Reason: hostile, Until: noon.Add(time.Hour)}}
	e.Records = []ledger.Report{{Phase: "testSecret", VersionID: "version-new", Message: hostile, Asked: hostile, Expected: 1, Reasons: map[string]int{hostile: 1},
		Laggards: []ledger.Laggard{{Worker: hostile, Code: hostile, Message: hostile}}}}
	return e
}

func render(t testing.TB, f Facts) string {
	t.Helper()
	var out strings.Builder
	if err := New(f).WriteHTML(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var (
	tags    = regexp.MustCompile(`<[a-zA-Z!/][^>]*>`)
	inlined = regexp.MustCompile(`(?s)<(style|script)>(.*?)</`)
)

// TestForeignTextMakesNoMarkup compares the tags of the page with those of a page without hostile text.
func TestForeignTextMakesNoMarkup(t *testing.T) {
	bad := hostileEstate(t)
	got := render(t, bad.Facts)
	for _, never := range []string{"<img", "<script>window", "</title><", "<!--"} {
		if strings.Contains(got, never) {
			t.Errorf("the page has %q", never)
		}
	}
	good := hostileEstate(t)
	good.Secret.Name, good.Workers[0].Name, good.Workers[0].Zone, good.Workers[0].Address = "x", "x", "x", "x"
	good.Waivers[0].Actor, good.Waivers[0].Reason = "x", "x"
	good.ack(0, time.Second, func(a *ledger.Ack) {
		a.Outcome, a.Code, a.Message, a.AgentVersion = ledger.Failed, "x", "x", "x"
		a.Users[0].Keys[1].Accepted = "x"
	})
	good.Records[0] = ledger.Report{Phase: "testSecret", VersionID: "version-new", Message: "x", Asked: "x", Expected: 1, Reasons: map[string]int{"x": 1},
		Laggards: []ledger.Laggard{{Worker: "x", Code: "x", Message: "x"}}}
	names := func(page string) (list []string) {
		for _, tag := range tags.FindAllString(page, -1) {
			list = append(list, strings.FieldsFunc(tag, func(r rune) bool { return r == ' ' || r == '>' })[0])
		}
		return list
	}
	if a, b := names(got), names(render(t, good.Facts)); !slices.Equal(a, b) {
		t.Errorf("%d tags instead of %d", len(a), len(b))
	}
	if !strings.Contains(html.UnescapeString(got), "window.pwned=1") {
		t.Error("the text itself is not shown")
	}
}

func TestThePolicyNamesWhatThePageHolds(t *testing.T) {
	got := render(t, motley(t))
	policy := html.UnescapeString(regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(got)[1])
	found := inlined.FindAllStringSubmatch(got, -1)
	if len(found) != 2 {
		t.Fatalf("%d inline elements", len(found))
	}
	for _, element := range found {
		sum := sha256.Sum256([]byte(element[2]))
		if want := element[1] + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("%q lacks %q", policy, want)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy is %q", policy)
	}
	if strings.Contains(got, " style=") || regexp.MustCompile(` on[a-z]+=`).MatchString(got) {
		t.Error("the page has attributes that its policy forbids")
	}
}

// TestThePagesDataIsWhole reads what the script reads.
func TestThePagesDataIsWhole(t *testing.T) {
	e := newEstate(t, 250)
	e.ack(7, time.Second, nil)
	got := render(t, e.Facts)
	text := regexp.MustCompile(`(?s)id="data">(.*?)</script>`).FindStringSubmatch(got)[1]
	var d data
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Workers) != 250 || len(d.Columns) != len(d.Workers[0]) || d.Columns[stateColumn] != "State" || d.Columns[reportedColumn] != "Reported" {
		t.Errorf("%d workers, columns %v", len(d.Workers), d.Columns)
	}
	want := [][]any{
		{"i-00000000000000000", "node-0", "10.0.0.0", "us-east-1a", "silent", "", "unknown", "", "", "has not acknowledged anything"},
		{"i-00000000000000007", "node-7", "10.0.0.7", "us-east-1b", "ready", "yes", "refused", "0.1.0", 59.0, ""},
	}
	if diff := cmp.Diff(want, [][]any{d.Workers[0], d.Workers[249]}); diff != "" {
		t.Errorf("the first and the last (-want +got):\n%s", diff)
	}
	if n := strings.Count(got, `data-label="Worker" class="mono">i-`); n != firstRows {
		t.Errorf("%d workers are shown without the script", n)
	}
	if !strings.Contains(got, "The first 100 of 250 workers") {
		t.Error("the page does not say that there are more")
	}
}

func TestAPageOfNothing(t *testing.T) {
	got := render(t, Facts{Now: noon})
	for _, want := range []string{"nothing has been published yet", "no running instance", "No rotation has left a record", "Nothing is known yet"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestCurveStepsUpAtEachWorker(t *testing.T) {
	c := converged("key", ledger.NewSpread(noon, 4, []time.Time{noon.Add(time.Second), noon.Add(2 * time.Second)}))
	got := newCurve("Ready", *c, noon.Add(time.Hour))
	// Two of four are missing: the axis goes on, but not for the whole hour, and the line stays at the half.
	if want := "M40 160H70.5V123H101V86H345"; got.Line != want {
		t.Errorf("line is %q, want %q", got.Line, want)
	}
	if last := got.X[len(got.X)-1]; last.Label != "10s" || last.At != chartRight {
		t.Errorf("the axis ends at %+v", last)
	}
	if got.Figures[1] != (figure{"50 %", "2.0s"}) || got.Figures[4] != (figure{"100 %", "-"}) {
		t.Errorf("figures are %v", got.Figures)
	}
}
