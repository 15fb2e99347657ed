package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/rotator/internal/demo"
)

// listScenarios is what --scenario takes besides a name.
const listScenarios = "list"

// scenarioFixes are the flags of which the values are a scenario's own.
func scenarioFixes() []string { return []string{"workers", "rotations", "retire-after", "keep"} }

// runScenario plays one scenario, or lists all.
func runScenario(c *cobra.Command, f demoFlags) error {
	if f.scenario == listScenarios {
		return printScenarios(c.OutOrStdout(), f.json)
	}
	s, found := demo.FindScenario(f.scenario)
	if !found {
		return withHint(usagef("there is no scenario %q", f.scenario), "run %q", c.CommandPath()+" --scenario list")
	}
	for _, name := range scenarioFixes() {
		if c.Flags().Changed(name) {
			return withHint(usagef("--%s has no effect on a scenario", name), "leave it out")
		}
	}
	if err := f.options.Validate(); err != nil {
		return withHint(usageError{err}, "run %q", c.CommandPath()+" --help")
	}
	var err error
	if f.options.Binaries, err = besideMe(); err != nil {
		return hintDemo(err)
	}
	ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGHUP)
	defer stop()
	view := newScenarioView(c.ErrOrStderr())
	out, err := demo.Play(ctx, s, f.options, view.tell)
	view.end()
	if logged, ok := errors.AsType[*demo.LoggedError](err); ok && ctx.Err() == nil {
		showTails(c.ErrOrStderr(), logged.Logs)
	}
	if err != nil {
		return hintDemo(interrupted(ctx, err))
	}
	if err := printOutcome(c.OutOrStdout(), out, f.json); err != nil {
		return err
	}
	return out.UnexpectedError(s.Name)
}

func printScenarios(w io.Writer, asJSON bool) error {
	type scenario struct {
		Name    string `json:"name"`
		Purpose string `json:"purpose"`
	}
	all := []scenario{}
	for _, s := range demo.Scenarios() {
		all = append(all, scenario{s.Name, s.Purpose})
	}
	if asJSON {
		return printJSON(w, all)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range all {
		fmt.Fprintf(t, "%s\t%s\n", s.Name, s.Purpose)
	}
	return t.Flush()
}

// scenarioNames is for the help text.
func scenarioNames() string {
	var names []string
	for _, s := range demo.Scenarios() {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

func printOutcome(w io.Writer, out demo.Outcome, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(out.Facts)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range out.Findings {
		text := f.Got
		if !f.Right {
			text += ", EXPECTED " + f.Want
		}
		fmt.Fprintf(t, "%s\t%s\n", f.Says, text)
	}
	fmt.Fprintf(t, "as expected\t%s\n", yesNo(len(out.Wrong()) == 0))
	return t.Flush()
}

// scenarioView prints a scenario's lines. Who tells them never waits for the screen.
type scenarioView struct {
	w     io.Writer
	mu    sync.Mutex
	ended bool
	lines chan demo.Line
	drawn chan struct{}
}

func newScenarioView(w io.Writer) *scenarioView {
	v := &scenarioView{w: w, lines: make(chan demo.Line, 4096), drawn: make(chan struct{})}
	go func() {
		defer close(v.drawn)
		for l := range v.lines {
			v.print(l)
		}
	}()
	return v
}

func (v *scenarioView) print(l demo.Line) {
	if l.Quoted {
		fmt.Fprintf(v.w, "         | %s\n", l.Text)
		return
	}
	fmt.Fprintf(v.w, "%6.1fs  %s\n", l.Elapsed.Seconds(), printable(l.Text))
}

func (v *scenarioView) tell(l demo.Line) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended {
		return
	}
	select {
	case v.lines <- l:
	default: // the screen is far behind, and what happened is in the facts
	}
}

func (v *scenarioView) end() {
	v.mu.Lock()
	if !v.ended {
		v.ended = true
		close(v.lines)
	}
	v.mu.Unlock()
	<-v.drawn
}
