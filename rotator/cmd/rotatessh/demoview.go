package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/rotatessh/rotatessh/rotator/internal/demo"
)

// demoView shows a demo: on a terminal one moving bar a stage, elsewhere a line for each change. It is a
// demo.Events.
type demoView struct {
	stdout, stderr io.Writer
	json           bool

	mu      sync.Mutex
	ended   bool
	updates chan demo.Progress
	drawn   chan struct{} // closed when the last update is on the screen

	// What follows belongs to the goroutine that draws.
	bars *mpb.Progress // nil where there is no terminal
	bar  *mpb.Bar
	took *atomic.Int64 // what the bar shows as the elapsed time once it has ended, in nanoseconds
	last demo.Progress
}

// newDemoView writes the result to stdout and the way there to stderr.
func newDemoView(stdout, stderr io.Writer, asJSON bool) *demoView {
	v := &demoView{stdout: stdout, stderr: stderr, json: asJSON, updates: make(chan demo.Progress, 1024), drawn: make(chan struct{})}
	if isTerminal(stderr) {
		v.bars = mpb.New(mpb.WithOutput(stderr), mpb.PopCompletedMode(), mpb.WithWidth(20))
	}
	go v.draw()
	return v
}

// Progress implements demo.Events. It never waits for the screen: whoever reports is in the middle of what is
// being measured.
func (v *demoView) Progress(p demo.Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended {
		return
	}
	select {
	case v.updates <- p:
	default: // the screen is far behind; the next one tells more
	}
}

func (v *demoView) draw() {
	defer close(v.drawn)
	for p := range v.updates {
		news := p.Stage != v.last.Stage || p.Done != v.last.Done || p.Of != v.last.Of
		switch {
		case v.bars != nil:
			v.move(p)
		case news:
			fmt.Fprintf(v.stderr, "%6.1fs  %s%s\n", p.Elapsed.Seconds(), p.Stage, share(p))
		}
		v.last = p
	}
	v.finish(v.last.Elapsed)
	if v.bars != nil {
		v.bars.Shutdown()
	}
}

func share(p demo.Progress) string {
	if p.Of == 0 {
		return ""
	}
	return fmt.Sprintf(", %d/%d %s", p.Done, p.Of, p.What)
}

// move moves the bar, or begins a new one when the stage changes.
func (v *demoView) move(p demo.Progress) {
	if v.bar == nil || p.Stage != v.last.Stage {
		v.finish(p.Elapsed)
		v.bar, v.took = v.newBar(p)
	}
	v.bar.SetCurrent(int64(p.Done))
}

// newBar gives a bar that may go back, and that does not end by itself when it is full: a new publication
// makes every worker unready again.
func (v *demoView) newBar(p demo.Progress) (*mpb.Bar, *atomic.Int64) {
	began := time.Now().Add(-p.Elapsed)
	took := new(atomic.Int64)
	line := decor.Any(func(decor.Statistics) string {
		elapsed := time.Duration(took.Load())
		if elapsed == 0 {
			elapsed = time.Since(began)
		}
		return fmt.Sprintf("%6.1fs  %-40s", elapsed.Seconds(), p.Stage)
	})
	if p.Of == 0 {
		return v.bars.New(0, mpb.NopStyle(), mpb.PrependDecorators(line)), took
	}
	bar := v.bars.New(0, mpb.BarStyle(), mpb.PrependDecorators(line, decor.CountersNoUnit("%d/%d "+p.What, decor.WC{W: 17, C: decor.DindentRight | decor.DextraSpace})))
	bar.SetTotal(int64(p.Of), false)
	return bar, took
}

// finish leaves the present bar on the screen as it is, with the time at which it ended.
func (v *demoView) finish(at time.Duration) {
	if v.bar != nil {
		v.took.Store(int64(at))
		v.bar.Abort(false)
		v.bar.Wait()
		v.bar = nil
	}
}

// end shows what is still to be shown and then nothing more. It may be called again.
func (v *demoView) end() {
	v.mu.Lock()
	if !v.ended {
		v.ended = true
		close(v.updates)
	}
	v.mu.Unlock()
	<-v.drawn
}

// Done implements demo.Events.
func (v *demoView) Done(f demo.Figures) {
	v.end()
	if v.json {
		_ = json.NewEncoder(v.stdout).Encode(f)
		return
	}
	fmt.Fprintln(v.stdout)
	t := tabwriter.NewWriter(v.stdout, 0, 0, 2, ' ', 0)
	for _, row := range demoTable(f) {
		fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
	}
	_ = t.Flush()
}

func demoTable(f demo.Figures) [][2]string {
	of := func(n int) string { return fmt.Sprintf("%d of %d", n, f.Workers) }
	return [][2]string{
		{"workers", fmt.Sprintf("%d, each with its own %s", f.Workers, f.SSHD)},
		{"rotations", fmt.Sprint(f.Rotations)},
		{"ready before the switch, by the rotator's count", of(f.Ready)},
		{"sshd accepts the new key, acknowledged", of(f.Accepted)},
		{"sshd refuses the old key, acknowledged", of(f.Retired)},
		{"new key accepted in a real log-in", of(f.NewKeyAccepted)},
		{"old key refused in a real log-in", of(f.OldKeyRefused)},
		{"log-ins of the controllers meanwhile", fmt.Sprintf("%d, %d failed", f.LoginsTried, f.LoginsFailed)},
		{"foreign lines in authorized_keys unchanged", yesNo(f.ForeignLinesKept)},
		{"file copied with the new key", fmt.Sprintf("%d bytes, SHA-256 equal: %s", f.Copy.Bytes, yesNo(f.Copy.SHA256Match))},
		{"from publication to the last worker ready", fmt.Sprintf("%.2f s", f.SecondsToReady)},
		{"altogether", fmt.Sprintf("%.1f s", f.SecondsTotal)},
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Up implements demo.Events. With --json the object stays alone on standard output.
func (v *demoView) Up(a demo.Access) {
	out := v.stdout
	if v.json {
		out = v.stderr
	}
	var names []string
	fmt.Fprintln(out)
	for _, pair := range a.Environment() {
		fmt.Fprintln(out, pair)
		name, _, _ := strings.Cut(pair, "=")
		names = append(names, name)
	}
	fmt.Fprintf(out, "export %s\n\n", strings.Join(names, " "))
	fmt.Fprintf(out, "# for clients that do not know AWS_ENDPOINT_URL:\n%s\n\n", a.Command())
	fmt.Fprintln(v.stderr, "The fleet stays up. Press Ctrl-C to end it.")
}

// logs shows what explains a failure.
func (v *demoView) logs(tails []demo.Tail) { showTails(v.stderr, tails) }

func showTails(w io.Writer, tails []demo.Tail) {
	for _, t := range tails {
		fmt.Fprintf(w, "--- end of %s\n", t.Name)
		for _, line := range t.Lines {
			fmt.Fprintln(w, line)
		}
	}
}
