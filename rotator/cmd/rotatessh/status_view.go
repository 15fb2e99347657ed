package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/rotatessh/rotatessh/rotator/internal/report"
)

// screen is a block of lines on a terminal that is drawn again in its place.
type screen struct {
	w     io.Writer
	lines int // drawn last
}

// size is the terminal's, or a customary one.
func (s *screen) size() (width, height int) {
	if f, ok := s.w.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 1 {
			return w, h
		}
	}
	return 80, 24
}

// draw replaces the block. Lines that are too long for the terminal are cut, and so are the last ones if it is
// too small: otherwise the block could not be found again.
func (s *screen) draw(text string) error {
	width, height := s.size()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	lines = lines[:min(len(lines), height-1)]
	var out strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", s.lines)
	}
	out.WriteString("\r\x1b[J")
	for _, line := range lines {
		out.WriteString(cut(line, width))
		out.WriteByte('\n')
	}
	s.lines = len(lines)
	_, err := io.WriteString(s.w, out.String())
	return err
}

func cut(line string, width int) string {
	if runes := []rune(line); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return line
}

// progressView shows a rotation as it goes: on a terminal as a block that changes, and otherwise as a line for
// each change.
type progressView struct {
	w    io.Writer
	on   *screen // nil where there is no terminal
	last string
}

func newProgressView(w io.Writer) *progressView {
	v := &progressView{w: w}
	if isTerminal(w) {
		v.on = &screen{w: w}
	}
	return v
}

func (v *progressView) show(r report.Report, elapsed time.Duration) error {
	if v.on != nil {
		width, _ := v.on.size()
		var text strings.Builder
		r.WriteProgress(&text, width)
		fmt.Fprintf(&text, "watching for %s\n", clock(elapsed))
		return v.on.draw(text.String())
	}
	stage := r.Stage()
	if r.Rotation.State == report.Failing {
		stage = r.RotationLine()
	}
	if stage == v.last {
		return nil
	}
	v.last = stage
	_, err := fmt.Fprintf(v.w, "%s %s\n", r.At.UTC().Format("15:04:05Z"), stage)
	return err
}

// textView shows the whole report: on a terminal again and again in its place, and otherwise at each change.
type textView struct {
	w         io.Writer
	on        *screen
	selection report.Selection
	last      string
}

func newTextView(w io.Writer, s report.Selection) *textView {
	v := &textView{w: w, selection: s}
	if isTerminal(w) {
		v.on = &screen{w: w}
	}
	return v
}

func (v *textView) show(r report.Report, elapsed time.Duration) error {
	var text strings.Builder
	if v.on != nil {
		fmt.Fprintf(&text, "%s  (watching for %s)\n\n", r.Stage(), clock(elapsed))
	}
	if err := r.WriteText(&text, v.selection); err != nil {
		return err
	}
	if v.on != nil {
		return v.on.draw(text.String())
	}
	stage := r.Stage() + r.Rotation.Message
	if stage == v.last {
		return nil
	}
	v.last = stage
	_, err := fmt.Fprintf(v.w, "%s %s\n\n%s\n", r.At.UTC().Format("15:04:05Z"), r.Stage(), text.String())
	return err
}

// jsonView prints an object a line for each change.
type jsonView struct {
	w         io.Writer
	selection report.Selection
	last      string
}

func (v *jsonView) show(r report.Report, _ time.Duration) error {
	stage := r.Stage() + r.Rotation.Message
	if stage == v.last {
		return nil
	}
	v.last = stage
	enc := json.NewEncoder(v.w)
	enc.SetEscapeHTML(false)
	return enc.Encode(r.Only(v.selection))
}
