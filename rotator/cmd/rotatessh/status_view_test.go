package main

import (
	"strings"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/rotator/internal/report"
)

// looks are three reports, of which the second one says what the first one does.
func looks() []report.Report {
	r := report.Report{At: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Rotation: report.Rotation{State: report.InProgress}}
	failing := r
	failing.Rotation = report.Rotation{State: report.Failing, Since: r.At, Message: "testSecret: \x1b[2J nobody is ready"}
	return []report.Report{r, r, failing}
}

func TestWatchingWithoutATerminalPrintsALineForEachChange(t *testing.T) {
	var out strings.Builder
	v := newProgressView(&out)
	for _, r := range looks() {
		if err := v.show(r, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	want := "03:04:05Z making the new key pair\n03:04:05Z failing, started 0s ago, AWS will retry: testSecret: ?[2J nobody is ready\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestWatchingAReportPrintsItAtEachChange(t *testing.T) {
	for name, v := range map[string]func(*strings.Builder) shower{
		"text": func(b *strings.Builder) shower { return newTextView(b, report.Selection{}) },
		"json": func(b *strings.Builder) shower { return &jsonView{w: b} },
	} {
		var out strings.Builder
		view := v(&out)
		for _, r := range looks() {
			if err := view.show(r, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]string{"text": "\nrotation  ", "json": `{"at":"2030-01-02T03:04:05Z"`}[name]
		if n := strings.Count(out.String(), want); n != 2 {
			t.Errorf("%s: shown %d times:\n%s", name, n, out.String())
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("%s: a control character:\n%s", name, out.String())
		}
	}
}

func TestABlockIsDrawnAgainInItsPlaceAndFitsTheTerminal(t *testing.T) {
	var out strings.Builder
	s := &screen{w: &out}
	for _, text := range []string{"one\ntwo\n", strings.Repeat("x", 81) + "\n", strings.Repeat("y\n", 100)} {
		if err := s.draw(text); err != nil {
			t.Fatal(err)
		}
	}
	want := "\r\x1b[Jone\ntwo\n" + "\x1b[2A\r\x1b[J" + strings.Repeat("x", 79) + "…\n" + "\x1b[1A\r\x1b[J" + strings.Repeat("y\n", 23)
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
