package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Runner runs the program under test once on the site, in a process of its own, and under strace if trace is not nil. It returns the
// failure code that the program reported, or Applied.
type Runner func(ctx context.Context, s *Site, trace *Trace) (code string, err error)

// Options say how to run the rows.
type Options struct {
	Dir   string // where sites are made; it must be on a disk file system
	Runs  int    // how often each row is run; 1 when zero
	Short bool   // only the rows marked so
	Out   io.Writer
}

// Totals are the sums over all rows.
type Totals struct {
	Rows, NotRun, Wrong int
	Torn, Lost, Outside int
}

// OK reports whether nothing happened that must not, and every code was the expected one.
func (t Totals) OK() bool { return t.Torn+t.Lost+t.Outside+t.Wrong == 0 && t.Rows > 0 }

// String is the last line of the table.
func (t Totals) String() string {
	return fmt.Sprintf("faults: rows=%d not_run=%d torn=%d lost=%d outside=%d", t.Rows, t.NotRun, t.Torn, t.Lost, t.Outside)
}

// Run runs the rows and prints a table. An error means that the harness itself failed.
func Run(ctx context.Context, o Options, run Runner) (Totals, error) {
	var total Totals
	fmt.Fprintf(o.Out, "%-48s %5s %5s %5s %8s  %s\n", "fault", "runs", "torn", "lost", "outside", "reported as")
	for _, row := range Rows() {
		if o.Short && !row.Short {
			continue
		}
		r := result{row: row}
		for range max(o.Runs, 1) {
			if err := r.once(ctx, o.Dir, run); errors.Is(err, ErrNotRun) {
				r.notRun = err
				break
			} else if err != nil {
				return total, fmt.Errorf("running %q: %w", row.Name, err)
			}
		}
		r.print(o.Out)
		total.add(&r)
	}
	fmt.Fprintln(o.Out, total)
	return total, nil
}

func (t *Totals) add(r *result) {
	t.Rows++
	if r.notRun != nil {
		t.NotRun++
	}
	if r.wrong() {
		t.Wrong++
	}
	t.Torn += r.verdict.Torn
	t.Lost += r.verdict.Lost
	t.Outside += r.verdict.Outside
}

// A result is what came of one row.
type result struct {
	row     Row
	runs    int
	verdict Verdict
	codes   []string
	notRun  error
	when    int // which of its thread's calls the injection aims at; 0 before the first run
}

func (r *result) wrong() bool {
	return slices.ContainsFunc(r.codes, func(c string) bool { return !slices.Contains(r.row.Codes, c) })
}

func (r *result) print(out io.Writer) {
	reported := strings.Join(r.codes, ", ")
	if r.notRun != nil {
		reported = r.notRun.Error()
	}
	if r.wrong() {
		reported += ", WANTED " + strings.Join(r.row.Codes, " or ")
	}
	fmt.Fprintf(out, "%-48s %5d %5d %5d %8d  %s\n", r.row.Name, r.runs, r.verdict.Torn, r.verdict.Lost, r.verdict.Outside, reported)
	for _, d := range r.verdict.Details {
		fmt.Fprintf(out, "    %s\n", d)
	}
}

// once runs the row on a site of its own.
func (r *result) once(ctx context.Context, dir string, run Runner) error {
	if r.row.Inject == nil {
		return r.attempt(ctx, dir, 0, run)
	}
	// Threads take turns differently in each run, so that the call may come at another place than the last time.
	err := errMissed
	for try := 0; try < maxTries && errors.Is(err, errMissed); try++ {
		if r.when == 0 {
			err = r.look(ctx, dir, run)
		} else {
			err = r.attempt(ctx, dir, r.when, run)
		}
	}
	return err
}

// errMissed says that another call than the one aimed at failed, or none.
var errMissed = fmt.Errorf("%w: the injection missed its call", ErrNotRun)

// maxTries bounds how often it is aimed for one run. Nearly every shot hits, except at calls that the whole program makes.
const maxTries = 40

// look runs the row without an injection to find out where the call comes. It never hits.
func (r *result) look(ctx context.Context, dir string, run Runner) error {
	return onSite(dir, r.row, func(s *Site) error {
		trace, err := r.row.Inject.trace(s, 0)
		if err != nil {
			return err
		}
		if _, err := run(ctx, s, trace); err != nil {
			return err
		}
		calls, err := readRecord(recordFile(s))
		if err != nil {
			return err
		}
		r.when = r.row.Inject.count(calls)
		return errMissed
	})
}

// attempt is one run that counts, unless its injection missed: then the next one aims at where the call came this time.
func (r *result) attempt(ctx context.Context, dir string, when int, run Runner) error {
	return onSite(dir, r.row, func(s *Site) error {
		var trace *Trace
		var err error
		if when > 0 {
			if trace, err = r.row.Inject.trace(s, when); err != nil {
				return err
			}
		}
		s.Freeze()
		stop := s.watch()
		code, err := run(ctx, s, trace)
		seen := stop()
		if when > 0 {
			calls, recordErr := readRecord(recordFile(s))
			if recordErr != nil {
				return recordErr
			}
			// What comes of other calls that fail too is not this row's business, unless the program copes with them.
			if first, alone := r.row.Inject.hit(calls); !first || err != nil && !alone {
				r.when = cmp.Or(r.row.Inject.count(calls), r.when)
				return errMissed
			}
		}
		if err != nil {
			return err
		}
		r.count(s, code, seen)
		return nil
	})
}

func (r *result) count(s *Site, code string, seen Verdict) {
	r.runs++
	if !slices.Contains(r.codes, code) {
		r.codes = append(r.codes, code)
	}
	// A failure after the rename leaves the new file, and that is right.
	v := s.Inspect(code == Applied, s.HasBlock())
	if code == Applied && !s.HasBlock() {
		v.Torn++
		v.note("reported as applied, but there is no block")
	}
	if temps := s.Temps(); len(temps) > 0 && code == Applied {
		v.note("left behind: %v", temps)
	}
	r.verdict.Torn += v.Torn + seen.Torn
	r.verdict.Lost += v.Lost + seen.Lost
	r.verdict.Outside += v.Outside
	r.verdict.Details = append(r.verdict.Details, append(v.Details, seen.Details...)...)
}

// onSite makes a site, arranges the row on it, calls f and removes the site.
func onSite(dir string, row Row, f func(*Site) error) error {
	sub, err := os.MkdirTemp(dir, "site-")
	if err != nil {
		return err
	}
	if err := os.Chmod(sub, 0o755); err != nil {
		return err
	}
	s, err := NewSite(sub)
	if err == nil && row.Arrange != nil {
		err = row.Arrange(s)
	}
	if err == nil {
		err = f(s)
	}
	return errors.Join(err, s.Close())
}

// watch reads the file over and over, as sshd does, until the function that it returns is called. That function answers what was seen.
func (s *Site) watch() func() Verdict {
	if !s.plain() || s.before[s.File].mode == 0 {
		return func() Verdict { return Verdict{} }
	}
	var v Verdict
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(200 * time.Microsecond):
			}
			content, err := readRegular(s.File)
			if err != nil {
				v.Lost++
				v.note("a reader found no file: %v", err)
				return
			}
			s.judge(&v, content)
			if v.Torn+v.Lost > 0 {
				return
			}
		}
	})
	return func() Verdict {
		close(done)
		wg.Wait()
		return v
	}
}

// Dir makes a folder for sites on a file system that is on a disk, where there is one: base is the wish.
func Dir(base string) (string, error) {
	dir, err := os.MkdirTemp(base, "faults-")
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}
