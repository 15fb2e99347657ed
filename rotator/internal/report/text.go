package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// Selection says which workers a table lists, and how much of the history is told.
type Selection struct {
	State string // only those of this state, "failed" for all that begin with it, "waived" or "pushed"; empty lists all
	Limit int    // at most so many; 0 is no limit
	// Records has the rotator's records below each rotation of the history.
	Records bool
}

// Select gives the chosen ones of the report's workers, and how many more there are beyond the limit.
func (r Report) Select(s Selection) (rows []Worker, more int) {
	rows = []Worker{}
	for _, w := range r.Workers {
		if w.is(s.State) {
			rows = append(rows, w)
		}
	}
	if s.Limit > 0 && len(rows) > s.Limit {
		return rows[:s.Limit], len(rows) - s.Limit
	}
	return rows, 0
}

// Only is r with the chosen workers and no more of the history than chosen. It shares the rest with r.
func (r Report) Only(s Selection) Report {
	r.Workers, _ = r.Select(s)
	if !s.Records {
		r.History = slices.Clone(r.History)
		for i := range r.History {
			r.History[i].Records = nil
		}
	}
	return r
}

func (w Worker) is(state string) bool {
	switch state {
	case "", w.State:
		return true
	case "waived":
		return w.Waived
	case "pushed":
		return w.Pushed
	}
	return strings.HasPrefix(w.State, state+":")
}

// WriteStatus writes the state as text for people; JSON is for programs.
func (r Report) WriteStatus(w io.Writer, s Selection) error {
	p := printer{w: w, r: r}
	p.head()
	p.keys()
	p.workers(s)
	return p.err
}

// WriteText writes everything as text: the state, what keeps workers from being ready, and the history.
func (r Report) WriteText(w io.Writer, s Selection) error {
	p := printer{w: w, r: r}
	p.head()
	p.keys()
	p.states()
	p.workers(s)
	p.history(s.Records)
	return p.err
}

// printer writes sections until the first error.
type printer struct {
	w   io.Writer
	r   Report
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// table writes rows with cells aligned.
func (p *printer) table(rows [][]string) {
	out := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(out, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	if p.err == nil {
		p.err = out.Flush()
	}
}

func (p *printer) head() {
	r := p.r
	rows := [][]string{{"secret", r.Secret.ARN}, {"rotation", r.RotationLine()}, {"keyset", r.keysetLine()}}
	if len(r.Records) > 0 {
		last := r.Records[0]
		rows = append(rows, []string{"last report", fmt.Sprintf("%s %s %s: %s", last.Phase, outcome(last.Passed), Age(r.At, last.At), Printable(last.Message))})
	}
	rows = append(rows, []string{"workers", r.SummaryLine()})
	for _, note := range r.Notes {
		rows = append(rows, []string{"note", note})
	}
	if r.Ready != nil {
		rows = append(rows, []string{"time to ready", r.Ready.sentence()})
	}
	if r.Retired != nil {
		rows = append(rows, []string{"time to retired", r.Retired.sentence()})
	}
	for _, line := range r.oldKeyLines() {
		rows = append(rows, []string{"old key", line.Text})
	}
	for _, w := range r.Waivers {
		rows = append(rows, []string{"waived", fmt.Sprintf("%s, ends %s, by %s: %s", w.Worker, Due(r.At, w.Until), Printable(w.Actor), Printable(w.Reason))})
	}
	p.table(rows)
}

// RotationLine says in one line where the rotation stands.
func (r Report) RotationLine() string {
	switch rotation := r.Rotation; {
	case rotation.State == Failing:
		return fmt.Sprintf("failing, started %s, AWS will retry: %s", Age(r.At, rotation.Since), Printable(rotation.Message))
	case rotation.State != Idle:
		return fmt.Sprintf("in progress, started %s: version %s", Age(r.At, rotation.Since), rotation.VersionID)
	case !r.Secret.RotationEnabled:
		return "idle, automatic rotation is off; last rotated " + Age(r.At, r.Secret.LastRotated)
	case r.Secret.NextRotation.IsZero():
		return "idle; last rotated " + Age(r.At, r.Secret.LastRotated)
	}
	return fmt.Sprintf("idle; last rotated %s, next %s", Age(r.At, r.Secret.LastRotated), Due(r.At, r.Secret.NextRotation))
}

func (r Report) keysetLine() string {
	if r.Keyset == nil {
		return "nothing has been published yet"
	}
	line := fmt.Sprintf("generation %d, %s", r.Keyset.Generation, r.Keyset.Phase)
	if !r.Keyset.PublishedAt.IsZero() {
		line += ", published " + Age(r.At, r.Keyset.PublishedAt)
	}
	return line
}

// SummaryLine counts the workers in one line.
func (r Report) SummaryLine() string {
	s := r.Summary
	var line strings.Builder
	fmt.Fprintf(&line, "%d of %d ready", s.Ready, s.Expected)
	for _, state := range slices.Sorted(maps.Keys(s.NotReady)) {
		fmt.Fprintf(&line, ", %d %s", s.NotReady[state], Printable(state))
	}
	if s.Booting > 0 {
		fmt.Fprintf(&line, "; %d booting", s.Booting)
	}
	if s.Waived > 0 {
		fmt.Fprintf(&line, "; %d waived", s.Waived)
	}
	switch {
	case r.OldKey == nil:
	case !r.OldKey.NotAfter.IsZero():
		line.WriteString("; old key ends " + Due(r.At, r.OldKey.NotAfter))
	default:
		fmt.Fprintf(&line, "; old key refused by %d", s.OldKeyRefused)
	}
	return line.String()
}

// oldKeyLine is one group of workers of which it is not known that they refuse the old key.
type oldKeyLine struct{ Text, Mood string }

// oldKeyLines name those of whom it is not known that they refuse the old key, once its time is over.
func (r Report) oldKeyLines() (lines []oldKeyLine) {
	for _, group := range []struct {
		answer, sentence, mood string
		n                      int
	}{
		{RefusedNo, "STILL ACCEPTED by ", "bad", r.Summary.OldKeyAllowed},
		{RefusedUnknown, "not known to be refused by ", "wait", r.Summary.OldKeyUnknown},
	} {
		if group.n > 0 {
			text := r.OldKey.Fingerprint + " " + group.sentence + plural.Of(group.n, "worker") + ": " + r.first(group.answer)
			lines = append(lines, oldKeyLine{Text: text, Mood: group.mood})
		}
	}
	return lines
}

// first names the first workers that gave an answer about the old key.
func (r Report) first(answer string) string {
	const named = 5
	var names []string
	more := 0
	for _, w := range r.Workers {
		switch {
		case w.OldKeyRefused != answer:
		case len(names) < named:
			names = append(names, w.ID)
		default:
			more++
		}
	}
	list := strings.Join(names, ", ")
	if more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

func (c Convergence) sentence() string {
	return fmt.Sprintf("p50 %s, p99 %s (%s, from %s)", seconds(c.P50), seconds(c.P99), plural.Share(c.Done, c.Of, "worker"), c.From.UTC().Format(moment))
}

func (p *printer) keys() {
	rows := [][]string{{"KEY", "LABELS", "STATE", "VERSION", "AGE"}}
	for _, v := range p.r.Keys() {
		state := dash(v.State)
		if !v.NotAfter.IsZero() {
			state += ", ends " + Due(p.r.At, v.NotAfter)
		}
		made := "-"
		if !v.Created.IsZero() {
			made = Short(max(0, p.r.At.Sub(v.Created)))
		}
		rows = append(rows, []string{dash(v.Fingerprint), dash(strings.Join(v.Labels, " ")), state, dash(v.ID), made})
	}
	p.printf("\n")
	p.table(rows)
}

// states counts workers by what they lack.
func (p *printer) states() {
	if len(p.r.Workers) == 0 {
		return
	}
	rows := [][]string{{"STATE", "WORKERS", "FOR EXAMPLE"}}
	for _, s := range p.r.States() {
		rows = append(rows, []string{Printable(s.State), fmt.Sprint(s.Workers), dash(Printable(s.Example))})
	}
	p.printf("\n")
	p.table(rows)
}

func (p *printer) workers(s Selection) {
	if len(p.r.Workers) == 0 {
		p.printf("\n%s\n", p.r.Nobody())
		return
	}
	list, more := p.r.Select(s)
	if len(list) == 0 {
		p.printf("\nno worker is in the state %q\n", s.State)
		return
	}
	rows := [][]string{{"WORKER", "NAME", "ADDRESS", "STATE", "ACCEPTED", "OLD KEY", "AGENT", "REPORTED", "MESSAGE"}}
	for _, w := range list {
		reported := "-"
		if !w.ReportedAt.IsZero() {
			reported = Age(p.r.At, w.ReportedAt)
		}
		rows = append(rows, []string{
			w.ID, dash(Printable(w.Name)), dash(w.Address), w.state(), dash(Printable(w.Accepted)),
			dash(w.oldKey()), dash(Printable(w.AgentVersion)), reported, Printable(w.Message),
		})
	}
	p.printf("\n")
	p.table(rows)
	if more > 0 {
		p.printf("… and %s: --limit 0 lists all, --state those of one state\n", plural.Of(more, "more worker"))
	}
}

// label is the state and what else decides how a worker counts.
func (w Worker) label() string {
	switch {
	case w.Waived:
		return w.State + " (waived)"
	case w.Pushed:
		return w.State + " (pushed)"
	}
	return w.State
}

func (w Worker) state() string { return Printable(w.label()) }

func (w Worker) oldKey() string {
	return map[string]string{RefusedYes: "refused", RefusedNo: "ACCEPTED", RefusedUnknown: "unknown", RefusedNotYet: "retiring"}[w.OldKeyRefused]
}

func (p *printer) record(record ledger.Report) {
	p.printf("  %s %s %s, generation %d, version %s: %s\n", record.At.UTC().Format(moment), record.Phase, outcome(record.Passed),
		record.Generation, dash(record.VersionID), Printable(record.Message))
	if record.Asked != "" {
		p.printf("    asked for by %s\n", Printable(record.Asked))
	}
	if record.Expected > 0 {
		p.printf("    %s\n", recordCounts(record))
	}
	var rows [][]string
	all := slices.Concat(record.Laggards, record.Waived, record.Pushed)
	for _, l := range all[:min(len(all), perRecord)] {
		rows = append(rows, []string{"    " + ledger.InstanceID(l.Worker), Printable(l.Code), Printable(l.Message)})
	}
	p.table(rows)
	if more := len(all) - perRecord; more > 0 {
		p.printf("    … and %d more: --json has them\n", more)
	}
}

// perRecord is how many workers a record names in the text.
const perRecord = 10

// recordCounts says how many workers did what the record is about, and how fast.
func recordCounts(record ledger.Report) string {
	var s strings.Builder
	if record.Phase == phaseSteady {
		fmt.Fprintf(&s, "%s %s the old key", plural.Share(record.Ready, record.Expected, "worker"), plural.Verb(record.Ready, "refuses", "refuse"))
	} else {
		fmt.Fprintf(&s, "%s ready, %d tried by logging in", plural.Share(record.Ready, record.Expected, "worker"), record.Probed)
	}
	for _, code := range slices.Sorted(maps.Keys(record.Reasons)) {
		fmt.Fprintf(&s, ", %d %s", record.Reasons[code], Printable(code))
	}
	if record.Spread != nil {
		c := converged("", *record.Spread)
		fmt.Fprintf(&s, ", p50 %s, p99 %s", seconds(c.P50), seconds(c.P99))
	}
	return s.String()
}
