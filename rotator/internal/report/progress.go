package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// WriteProgress writes the few lines that somebody who waits wants to see, at most width columns wide: what the
// rotation is at, a bar for the new key and one for the old, and the workers that hold it up.
func (r Report) WriteProgress(w io.Writer, width int) {
	fmt.Fprintf(w, "%s  %s\n", r.Secret.Name, r.Stage())
	if r.Rotation.State == Failing {
		fmt.Fprintf(w, "%s\n", r.RotationLine())
	}
	took := ""
	if r.Ready != nil {
		took = fmt.Sprintf("  p50 %s p99 %s", seconds(r.Ready.P50), seconds(r.Ready.P99))
	}
	fmt.Fprintf(w, "workers ready    %s%s\n", bar(r.Summary.Ready, r.Summary.Expected, width), took)
	switch {
	case r.OldKey == nil || r.Rotation.State != Idle:
	case !r.OldKey.NotAfter.IsZero():
		fmt.Fprintf(w, "old key          ends %s\n", Due(r.At, r.OldKey.NotAfter))
	default:
		took := ""
		if r.Retired != nil {
			took = fmt.Sprintf("  p50 %s p99 %s", seconds(r.Retired.P50), seconds(r.Retired.P99))
		}
		fmt.Fprintf(w, "old key refused  %s%s\n", bar(r.Summary.OldKeyRefused, r.Summary.OldKeyRefused+len(r.unrefused()), width), took)
	}
	const named = 5
	waiting := r.waiting()
	for _, worker := range waiting[:min(named, len(waiting))] {
		fmt.Fprintf(w, "  %s  %s  %s\n", worker.ID, worker.state(), Printable(worker.Message))
	}
	if more := len(waiting) - named; more > 0 {
		fmt.Fprintf(w, "  … and %s\n", plural.Of(more, "more worker"))
	}
}

// waiting are those that are waited for.
func (r Report) waiting() (workers []Worker) {
	for _, w := range r.Workers {
		if w.State != Ready && w.State != Booting && !w.Waived {
			workers = append(workers, w)
		}
	}
	if len(workers) == 0 && r.Rotation.State == Idle {
		return r.unrefused()
	}
	return workers
}

func bar(done, of, width int) string {
	const least, most, beside = 10, 40, 60
	cells := min(most, max(least, width-beside))
	full := 0
	if of > 0 {
		full = cells * done / of
	}
	return strings.Repeat("█", full) + strings.Repeat("░", cells-full) + fmt.Sprintf(" %d/%d", done, of)
}
