package report

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// moment is how times are written that auditors compare with other logs.
const moment = "2006-01-02 15:04:05Z"

// pastColumns are the headings of a history; cells gives what stands under them.
func pastColumns() []string {
	return []string{"Started", "Outcome", "Ready", "p99", "Old key refused by", "Took", "Asked for by", "Version"}
}

// cells are in the order of pastColumns, and "" where there is nothing to say.
func (r Report) cells(p Past) []string {
	ready := ""
	if p.Expected > 0 || p.Waived > 0 {
		ready = fmt.Sprintf("%d of %d", p.Ready, p.Expected)
	}
	if p.Waived > 0 {
		ready += fmt.Sprintf(", %d waived", p.Waived)
	}
	p99 := ""
	if p.TimeToReadyP99 != nil {
		p99 = seconds(p.TimeToReadyP99)
	}
	took := ""
	if p.Seconds != nil {
		took = seconds(p.Seconds)
		if p.Ended.IsZero() {
			took += " so far"
		}
	}
	asked := Printable(p.Asked)
	if asked == "" {
		asked = "Secrets Manager"
	}
	return []string{
		p.Started.UTC().Format(moment) + ", " + Age(r.At, p.Started), p.told(), ready, p99, r.refusing(p), took, asked, p.VersionID,
	}
}

// told is the outcome in words, with what went wrong on the way.
func (p Past) told() string {
	words := map[string]string{Underway: "in progress", RolledBack: "rolled back"}[p.Outcome]
	if words == "" {
		words = p.Outcome
	}
	if p.EndedBy != "" {
		words += " by " + Printable(p.EndedBy)
	}
	var failures []string
	for _, f := range p.Failed {
		failures = append(failures, fmt.Sprintf("%s failed %s", f.Step, plural.Of(f.Times, "time")))
	}
	if len(failures) > 0 {
		words += " (" + strings.Join(failures, ", ") + ")"
	}
	return words
}

// refusing says how many workers refuse the key that the rotation took out of use.
func (r Report) refusing(p Past) string {
	switch {
	case p.Retired != nil && p.Retired.Refused == p.Retired.Expected:
		return fmt.Sprintf("all %d", p.Retired.Expected)
	case p.Retired != nil:
		return fmt.Sprintf("%d, %d NOT", p.Retired.Refused, p.Retired.Expected-p.Retired.Refused)
	case p.Ended.IsZero():
		return ""
	case r.OldKey != nil && !r.OldKey.NotAfter.IsZero() && r.lastEnded() == p.Ended:
		return "not yet"
	}
	return "no record"
}

// lastEnded is when the last rotation ended, whose old key may still have time.
func (r Report) lastEnded() (last time.Time) {
	for _, p := range r.History {
		if p.Ended.After(last) {
			last = p.Ended
		}
	}
	return last
}

func (p Past) mood() string {
	switch {
	case p.Outcome == StillFails, p.Outcome == Abandoned, p.Retired != nil && p.Retired.Refused < p.Retired.Expected:
		return "bad"
	case p.Outcome == Switched, p.Outcome == RolledBack, p.Outcome == Revoked:
		return "good"
	}
	return "wait"
}

// history lists rotations, a line each, and below each its records where they are wanted.
func (p *printer) history(records bool) {
	if len(p.r.History) == 0 {
		p.printf("\nno rotation has left a record yet\n")
		return
	}
	p.printf("\nHISTORY\n")
	heading := pastColumns()
	for i := range heading {
		heading[i] = strings.ToUpper(heading[i])
	}
	rows := [][]string{heading}
	for _, past := range p.r.History {
		cells := p.r.cells(past)
		for i := range cells {
			cells[i] = dash(cells[i])
		}
		rows = append(rows, cells)
	}
	var text bytes.Buffer
	aligned := printer{w: &text}
	aligned.table(rows)
	lines := strings.SplitAfter(text.String(), "\n")
	p.printf("%s", lines[0])
	for i, past := range p.r.History {
		p.printf("%s", lines[i+1])
		if !records {
			continue
		}
		for _, record := range past.Records {
			p.record(record)
		}
	}
	if !records {
		p.printf("--history shows the records of each, with the workers that were not ready\n")
	}
}
