package faults

import (
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

// A Runner runs the program under test once on the site, in a process of its own whose command line begins with wrap. It returns the
// failure code that the program reported, or Applied.
type Runner func(ctx context.Context, s *Site, wrap []string) (code string, err error)

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
		return r.attempt(ctx, dir, nil, run)
	}
	var when int
	err := onSite(dir, r.row, func(s *Site) error {
		wrap, err := strace(recordFile(s), r.row.Inject.Call, "")
		if err != nil {
			return err
		}
		if _, err := run(ctx, s, wrap); err != nil {
			return err
		}
		calls, err := readRecord(recordFile(s))
		when = r.row.Inject.count(calls)
		return err
	})
	if err != nil {
		return err
	}
	if when == 0 {
		return fmt.Errorf("no %s that matches %s", r.row.Inject.Call, r.row.Inject.On)
	}
	return r.aim(ctx, dir, when, run)
}

// errMissed says that another call than the one aimed at failed: threads take turns differently in each run.
var errMissed = errors.New("the injection hit another call")

func (r *result) aim(ctx context.Context, dir string, when int, run Runner) (err error) {
	for try := range 40 {
		// First where it was, then around it.
		at := when + []int{0, -1, 1, -2, 2, -3, 3, 0}[try%8]
		if at < 1 {
			continue
		}
		if err = r.attempt(ctx, dir, r.row.Inject, run, at); !errors.Is(err, errMissed) {
			return err
		}
	}
	return err
}

// attempt is one run that counts, unless its injection missed.
func (r *result) attempt(ctx context.Context, dir string, in *Injection, run Runner, when ...int) error {
	return onSite(dir, r.row, func(s *Site) error {
		var wrap []string
		var err error
		if in != nil {
			if wrap, err = strace(recordFile(s), in.Call, in.expression(when[0])); err != nil {
				return err
			}
		}
		s.Freeze()
		stop := s.watch()
		code, err := run(ctx, s, wrap)
		seen := stop()
		if in != nil {
			calls, recordErr := readRecord(recordFile(s))
			if recordErr != nil {
				return recordErr
			}
			if !in.hit(calls) {
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
