package report

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

//go:embed page.html page.css page.js
var files embed.FS

// firstRows is how many workers the page shows before its script runs, and what remains without one.
const firstRows = 100

// page is what page.html shows.
type page struct {
	Report
	Policy   string
	CSS      template.CSS
	JS       template.JS
	Mood     string
	Tiles    []tile
	Curves   []curve
	KeyRows  []keyRow
	States   []StateCount
	Columns  []string
	First    [][]cell
	Cut      bool
	Past     []pastRow
	Headings []string
	Data     data
	// OldKeyLines name those of whom it is not known that they refuse the old key.
	OldKeyLines []oldKeyLine
}

type tile struct{ Label, Value, Mood string }

type keyRow struct{ Fingerprint, Labels, State, Version, Age string }

// pastRow is one rotation of the history, and recordRow one of its records.
type pastRow struct {
	Cells   []cell
	Records []recordRow
}

// Count is how many records there are, in words.
func (p pastRow) Count() string { return plural.Of(len(p.Records), "record") }

type recordRow struct {
	ledger.Report
	Result, Mood, Counts string
	Named                []ledger.Laggard
}

// WriteHTML writes the report as one page that needs nothing else: its style and its script are in it, and its
// policy lets the browser load nothing and run nothing but these. Workers' text is escaped by html/template.
func (r Report) WriteHTML(w io.Writer) error {
	text, err := template.ParseFS(files, "page.html")
	if err != nil {
		return err
	}
	css, err := files.ReadFile("page.css")
	if err != nil {
		return err
	}
	js, err := files.ReadFile("page.js")
	if err != nil {
		return err
	}
	p := page{
		Report: r, CSS: template.CSS(css), JS: template.JS(js), //nolint:gosec // both are this package's own files
		Policy:      fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; img-src data:; base-uri 'none'; form-action 'none'", hash(css), hash(js)),
		Mood:        r.mood(),
		Tiles:       r.tiles(),
		States:      r.States(),
		Columns:     columns(),
		Past:        r.past(),
		Headings:    pastColumns(),
		Data:        r.data(),
		OldKeyLines: r.oldKeyLines(),
	}
	p.fill()
	return text.Execute(w, p)
}

// hash is a source expression of a Content Security Policy.
func hash(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (p *page) fill() {
	for i := range p.States {
		p.States[i].State = Printable(p.States[i].State)
	}
	if p.Ready != nil {
		p.Curves = append(p.Curves, newCurve("Ready for the new key", *p.Ready, p.At))
	}
	if p.Retired != nil {
		p.Curves = append(p.Curves, newCurve("Old key refused", *p.Retired, p.At))
	}
	for _, v := range p.Keys() {
		row := keyRow{Fingerprint: dash(v.Fingerprint), Labels: dash(strings.Join(v.Labels, " ")), State: dash(v.State), Version: dash(v.ID), Age: "-"}
		if !v.NotAfter.IsZero() {
			row.State += ", ends " + Due(p.At, v.NotAfter)
		}
		if !v.Created.IsZero() {
			row.Age = Short(max(0, p.At.Sub(v.Created)))
		}
		p.KeyRows = append(p.KeyRows, row)
	}
	for _, row := range p.Data.Workers[:min(firstRows, len(p.Data.Workers))] {
		p.First = append(p.First, p.Data.cells(row))
	}
	p.Cut = len(p.First) < len(p.Data.Workers)
}

func (r Report) mood() string {
	switch {
	case r.Rotation.State == Failing, r.Summary.OldKeyAllowed > 0:
		return "bad"
	case r.Steady():
		return "good"
	}
	return "wait"
}

func (r Report) tiles() []tile {
	s := r.Summary
	mood := func(bad bool) string {
		if bad {
			return "bad"
		}
		return "good"
	}
	tiles := []tile{
		{"Workers ready", fmt.Sprintf("%d of %d", s.Ready, s.Expected), mood(s.Ready < s.Expected)},
		{"New key accepted", fmt.Sprint(s.Accepted), ""},
	}
	if r.OldKey != nil && r.OldKey.NotAfter.IsZero() {
		tiles = append(tiles,
			tile{"Old key refused", fmt.Sprint(s.OldKeyRefused), ""},
			tile{"Old key still accepted", fmt.Sprint(s.OldKeyAllowed), mood(s.OldKeyAllowed > 0)})
	} else if r.OldKey != nil {
		tiles = append(tiles, tile{"Old key ends", Due(r.At, r.OldKey.NotAfter), ""})
	}
	tiles = append(tiles, r.Ready.tiles("Time to ready")...)
	tiles = append(tiles, r.Retired.tiles("Time to retired")...)
	return append(tiles, tile{"Waived", fmt.Sprint(s.Waived), ""}, tile{"Booting", fmt.Sprint(s.Booting), ""})
}

func (c *Convergence) tiles(label string) []tile {
	if c == nil {
		return nil
	}
	return []tile{{label + ", p50", seconds(c.P50), ""}, {label + ", p99", seconds(c.P99), ""}}
}

func (r Report) past() (rows []pastRow) {
	for _, past := range r.History {
		row := pastRow{Records: recordRows(past.Records)}
		for i, text := range r.cells(past) {
			c := cell{Label: pastColumns()[i], Text: text}
			switch c.Label {
			case "Outcome":
				c.Class = past.mood()
			case "Version":
				c.Class = "mono"
			}
			row.Cells = append(row.Cells, c)
		}
		rows = append(rows, row)
	}
	return rows
}

func recordRows(records []ledger.Report) (rows []recordRow) {
	for _, record := range records {
		row := recordRow{Report: record, Result: outcome(record.Passed), Mood: "good", Named: slices.Concat(record.Laggards, record.Waived, record.Pushed)}
		if !record.Passed {
			row.Mood = "bad"
		}
		if record.Expected > 0 {
			row.Counts = recordCounts(record)
		}
		row.Message, row.Asked = Printable(record.Message), Printable(record.Asked)
		for i, l := range row.Named {
			row.Named[i] = ledger.Laggard{Worker: ledger.InstanceID(l.Worker), Code: Printable(l.Code), Message: Printable(l.Message)}
		}
		rows = append(rows, row)
	}
	return rows
}

// since is how many seconds ago t was, and "" for never.
func since(now, t time.Time) any {
	if t.IsZero() {
		return ""
	}
	return int(max(0, now.Sub(t)).Seconds())
}
