package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// display shows progress: on a terminal as one line that changes, and otherwise as a line for each change.
type display struct {
	w        io.Writer
	terminal bool
	drawn    bool
	last     string
}

func newDisplay(w io.Writer) *display { return &display{w: w, terminal: isTerminal(w)} }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// show replaces the line.
func (d *display) show(step string, ready, expected int, elapsed time.Duration) {
	text := fmt.Sprintf("%s: %d/%s ready", step, ready, plural.Of(expected, "worker"))
	switch {
	case d.terminal:
		fmt.Fprintf(d.w, "\r\x1b[K%s, %s", text, clock(elapsed))
		d.drawn = true
	case text != d.last:
		fmt.Fprintf(d.w, "%s, %s\n", text, clock(elapsed))
	}
	d.last = text
}

// line prints text that stays.
func (d *display) line(text string) {
	d.end()
	fmt.Fprintln(d.w, text)
	d.last = ""
}

// end removes the changing line.
func (d *display) end() {
	if d.drawn {
		fmt.Fprint(d.w, "\r\x1b[K")
		d.drawn = false
	}
}

func clock(d time.Duration) string {
	d = d.Truncate(time.Second)
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
