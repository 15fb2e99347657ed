//go:build installtest

package installtest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// report is what the run prints at its end.
var report table

type row struct {
	area, step, outcome, seen string
	took                      time.Duration
}

type table struct {
	mu   sync.Mutex
	rows []row
}

func (r *table) add(x row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, x)
}

func (r *table) print(w io.Writer) {
	if len(r.rows) == 0 {
		return
	}
	fmt.Fprintln(w)
	var total time.Duration
	area := ""
	for _, x := range r.rows {
		if x.area != area {
			area = x.area
			fmt.Fprintf(w, "%s\n", area)
		}
		fmt.Fprintf(w, "  %-7s %6.1fs  %-44s %s\n", x.outcome, x.took.Seconds(), x.step, x.seen)
		total += x.took
	}
	fmt.Fprintf(w, "%d steps in %.0f s\n", len(r.rows), total.Seconds())
}

// step runs one step of a scenario and puts what it saw into the table. The following steps build on it: its failure ends the test.
func step(t *testing.T, name string, do func(t *testing.T) (seen string)) {
	t.Helper()
	start, seen := time.Now(), ""
	x := row{area: t.Name(), step: name, outcome: "FAILED"}
	ok := t.Run(name, func(t *testing.T) {
		seen = do(t)
	})
	x.took, x.seen = time.Since(start), seen
	if ok {
		x.outcome = "ok"
	}
	report.add(x)
	if !ok {
		t.FailNow()
	}
}

// needs skips the test where it cannot run. As root on a Debian everything can be had, so there it is a failure.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	why := ""
	if os.Geteuid() != 0 {
		why = "it needs root"
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			why = "there is no " + p
		}
	}
	if why == "" {
		return
	}
	report.add(row{area: t.Name(), step: "everything", outcome: "not run", seen: why})
	if _, err := exec.LookPath("apt-get"); err == nil && os.Geteuid() == 0 {
		t.Fatal("not run: " + why)
	}
	t.Skip("not run: " + why)
}

// until waits for a condition and fails with what was seen last.
func until(t *testing.T, what string, limit time.Duration, cond func() (seen string, ok bool)) {
	t.Helper()
	seen, ok := "", false
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if seen, ok = cond(); ok {
			return
		}
	}
	t.Fatalf("waited %v for %s; last seen: %s", limit, what, seen)
}

// run runs a program on this machine.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func contains(t *testing.T, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("%q is missing from\n%s", want, text)
	}
}
