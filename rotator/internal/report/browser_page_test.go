//go:build browsertest

package report

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/common/ledger"
)

// axe is the source of axe-core, which the make target fetches.
func axe(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(os.Getenv("ROTATESSH_AXE"))
	if err != nil {
		t.Skipf("not run: there is no axe-core; make report-test fetches it: %v", err)
	}
	return string(source)
}

func save(t *testing.T, f Facts) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte(render(t, f)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// large is a fleet in mid-rotation, a tenth of which is not ready.
func large(t testing.TB, n int) Facts {
	e := newEstate(t, n)
	for i := range n {
		after := time.Duration(400+i%6000) * time.Millisecond
		switch {
		case i%20 == 0:
		case i%20 == 1:
			e.ack(i, after, failed("no-space", "user ec2-user: replacing /home/ec2-user/.ssh/authorized_keys: no space left on device"))
		default:
			e.ack(i, after, nil)
		}
	}
	return e.Facts
}

func steady(t testing.TB) Facts {
	e := newEstate(t, 30)
	e.promote(-40 * time.Second)
	for i := range 30 {
		e.ack(i, time.Duration(i*97)*time.Millisecond-9*time.Second, func(a *ledger.Ack) {
			if i == 7 {
				a.Users[0].Keys[1].Accepted = ledger.Yes
			}
		})
	}
	e.Records = motley(t).Records
	spread := ledger.NewSpread(noon.Add(-time.Minute), 30, []time.Time{noon.Add(-59 * time.Second), noon.Add(-55 * time.Second)})
	e.Records = append(e.Records, ledger.Report{Phase: "testSecret", VersionID: "version-new", Passed: true, Spread: &spread, At: noon})
	return e.Facts
}

// TestPageInABrowser looks at pages of several kinds, on a phone and on a desk, in the light and in the dark.
func TestPageInABrowser(t *testing.T) {
	source := axe(t)
	b := startBrowser(t)
	for name, facts := range map[string]Facts{
		"motley": motley(t), "steady": steady(t), "hostile": hostileEstate(t).Facts, "nothing": {Now: noon}, "many": large(t, 250),
	} {
		path := save(t, facts)
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int{360, 1280} {
				t.Run(fmt.Sprintf("%s/%s/%d", name, scheme, width), func(t *testing.T) {
					b.t = t
					b.attach()
					b.open(path, width, scheme)
					b.checkLayout(width)
					b.checkAccess(source)
					b.snapshot(strings.ReplaceAll(t.Name(), "/", "-"))
					for _, complaint := range b.complaints(path) {
						t.Errorf("the page caused %.500s", complaint)
					}
				})
			}
		}
	}
}

func (b *browser) checkLayout(width int) {
	b.t.Helper()
	var page struct {
		Scroll, Client, Inner int
		Pwned                 bool
		Wide                  []string
	}
	b.eval(`({scroll: document.documentElement.scrollWidth, client: document.documentElement.clientWidth, inner: innerWidth, pwned: "pwned" in window,
		wide: [...document.body.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 5).map((e) => e.outerHTML.slice(0, 120))})`, &page)
	if page.Scroll > page.Client || page.Inner != width {
		b.t.Errorf("the page is %d wide in a window of %d: %q", page.Scroll, page.Client, page.Wide)
	}
	if page.Pwned {
		b.t.Error("foreign text has run as a script")
	}
}

func (b *browser) checkAccess(source string) {
	b.t.Helper()
	b.eval(source+";0", nil)
	var found struct {
		Violations []struct {
			ID, Help string
			Nodes    []struct{ HTML, FailureSummary string }
		}
		Passes int
	}
	// Everything is looked at, also what is folded away.
	b.eval(`(async () => {
		document.querySelectorAll("details").forEach((d) => { d.open = true; });
		const r = await axe.run(document, { resultTypes: ["violations"] });
		return { violations: r.violations, passes: r.passes.length };
	})()`, &found)
	if found.Passes < 10 {
		b.t.Errorf("only %d rules were checked", found.Passes)
	}
	for _, v := range found.Violations {
		b.t.Errorf("%s: %s: %d places, the first: %.300s: %s", v.ID, v.Help, len(v.Nodes), v.Nodes[0].HTML, v.Nodes[0].FailureSummary)
	}
}

// snapshot keeps a picture of the page in the folder ROTATESSH_SNAPSHOTS, for people to look at.
func (b *browser) snapshot(name string) {
	dir := os.Getenv("ROTATESSH_SNAPSHOTS")
	if dir == "" {
		return
	}
	var picture struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &picture)
	data, err := base64.StdEncoding.DecodeString(picture.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), data, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// table is what the table of workers shows.
type table struct {
	Count string
	Rows  []string
	Sort  []string
}

func (b *browser) table() (s table) {
	b.t.Helper()
	b.eval(`({count: document.getElementById("count").textContent,
		rows: [...document.querySelectorAll("#rows tr")].map((tr) => tr.cells[1].textContent + " " + tr.cells[4].textContent),
		sort: [...document.querySelectorAll("th[aria-sort]")].map((th) => th.textContent + " " + th.ariaSort)})`, &s)
	return s
}

// TestPageIsFilteredAndSortedByKeyboard touches no mouse.
func TestPageIsFilteredAndSortedByKeyboard(t *testing.T) {
	b := startBrowser(t)
	b.attach()
	path := save(t, large(t, 250))
	b.open(path, 1280, "light")
	if s := b.table(); s.Count != "250 of 250 workers. Rows 1 to 100." || len(s.Rows) != 100 || s.Rows[0] != "node-0 silent" {
		t.Errorf("at first: %q, %d rows, %q", s.Count, len(s.Rows), s.Rows[0])
	}
	b.tabTo("#filter")
	b.call("Input.insertText", map[string]any{"text": "Node-12 space"}, nil)
	if s := b.table(); s.Count != "1 of 250 workers." || s.Rows[0] != "node-121 failed:no-space" {
		t.Errorf("filtered: %+v", s)
	}
	b.press("Enter", 13, "\r") // must not leave the page
	b.eval(`document.getElementById("filter").select()`, nil)
	b.press("Delete", 46, "")
	b.tabTo("#state")
	b.press("ArrowDown", 40, "")
	if s := b.table(); s.Count != "13 of 250 workers." || !strings.HasSuffix(s.Rows[0], " silent") {
		t.Errorf("by state: %+v", s)
	}
	b.tabTo("th:nth-child(2) button")
	b.press("Enter", 13, "\r")
	if s := b.table(); s.Rows[1] != "node-20 silent" || s.Sort[0] != "Name ascending" {
		t.Errorf("sorted: %+v", s)
	}
	b.press("Enter", 13, "\r")
	if s := b.table(); s.Rows[0] != "node-240 silent" || s.Sort[0] != "Name descending" {
		t.Errorf("sorted the other way: %+v", s)
	}
	b.eval(`const s = document.getElementById("state"); s.value = ""; s.dispatchEvent(new Event("change"))`, nil)
	b.tabTo("#next")
	b.press("Enter", 13, "\r")
	b.press("Enter", 13, "\r")
	if s := b.table(); s.Count != "250 of 250 workers. Rows 201 to 250." || len(s.Rows) != 50 {
		t.Errorf("the last page: %q, %d rows", s.Count, len(s.Rows))
	}
	for _, complaint := range b.complaints(path) {
		t.Errorf("the page caused %.500s", complaint)
	}
}

func TestPageIsReadableOnPaperAndWithoutItsScript(t *testing.T) {
	b := startBrowser(t)
	b.attach()
	path := save(t, large(t, 250))
	b.open(path, 1280, "dark")
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": "print"}, nil)
	var shown, ink string
	b.eval(`getComputedStyle(document.getElementById("controls")).display`, &shown)
	b.eval(`getComputedStyle(document.body).color`, &ink)
	if shown != "none" || ink != "rgb(0, 0, 0)" {
		t.Errorf("on paper the controls are %q and the ink is %q", shown, ink)
	}
	var printed struct{ Data string }
	b.call("Page.printToPDF", map[string]any{}, &printed)
	if pdf, err := base64.StdEncoding.DecodeString(printed.Data); err != nil || !strings.HasPrefix(string(pdf), "%PDF") {
		t.Errorf("%v, %.20q", err, pdf)
	}

	b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	b.open(path, 1280, "light")
	var bare struct {
		Rows   int
		Hidden bool
	}
	b.eval(`({rows: document.querySelectorAll("#rows tr").length, hidden: document.getElementById("controls").hidden})`, &bare)
	if bare.Rows != firstRows || !bare.Hidden {
		t.Errorf("without its script the page has %d workers, controls hidden %v", bare.Rows, bare.Hidden)
	}
}

// TestPageOfALargeFleetOpens prints figures; it judges only that the answers are right.
func TestPageOfALargeFleetOpens(t *testing.T) {
	const workers = 10_000
	b := startBrowser(t)
	b.attach()
	start := time.Now()
	path := save(t, large(t, workers))
	made := time.Since(start)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	b.open(path, 1280, "light")
	opened := time.Since(start)
	var times []struct {
		Query string
		Count string
		Ms    float64
	}
	b.eval(`(async () => {
		const out = [];
		const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
		for (const query of ["n", "no", "node-99", "silent", "no space", "nobody", ""]) {
			const start = performance.now();
			const filter = document.getElementById("filter");
			filter.value = query;
			filter.dispatchEvent(new Event("input"));
			document.body.offsetHeight;
			const ms = performance.now() - start;
			await painted();
			out.push({ query, count: document.getElementById("count").textContent, ms });
		}
		return out;
	})()`, &times)
	want := map[string]string{"node-99": "111 of 10000 workers. Rows 1 to 100.", "silent": "500 of 10000 workers. Rows 1 to 100.", "nobody": "0 of 10000 workers.", "": "10000 of 10000 workers. Rows 1 to 100."}
	worst := 0.0
	for _, f := range times {
		if w, checked := want[f.Query]; checked && f.Count != w {
			t.Errorf("filtering for %q: %q, want %q", f.Query, f.Count, w)
		}
		worst = max(worst, f.Ms)
	}
	figures, _ := json.Marshal(map[string]any{"workers": workers, "bytes": info.Size(), "secondsToMake": made.Seconds(), "secondsToOpen": opened.Seconds(), "filterMillisecondsWorst": worst})
	fmt.Printf("large report: %s\n", figures)
	for _, complaint := range b.complaints(path) {
		t.Errorf("the page caused %.500s", complaint)
	}
}
