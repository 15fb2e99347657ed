package rotation

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

// standing is what each worker lacks, by ARN: a code, or "" for one that lacks nothing.
type standing map[string]string

// belief is what the log has said last about a fleet, as far as anybody still knows it. Within one run that is
// everything. Of an earlier run there is only its report, which names no worker that lacked nothing, and the first
// few of the others.
type belief struct {
	// unanswered is set when nothing has been said: what a worker lacks that has not answered yet. That is taken for
	// said of everybody.
	unanswered []string

	named standing
	rest  map[string]int // how many workers beside those lacked what
	at    time.Time      // of the report; zero without one
}

// recalled is what a report says; false if its run could ask nobody.
func recalled(report ledger.Report) (belief, bool) {
	b := belief{named: standing{}, rest: maps.Clone(report.Unlisted), at: report.At}
	for _, l := range slices.Concat(report.Laggards, report.Waived) {
		b.named[l.Worker] = l.Code
	}
	for _, worker := range report.Booting {
		b.named[worker] = codeBooting
	}
	if b.rest == nil {
		b.rest = map[string]int{}
	}
	if report.Ready > 0 {
		b.rest[""] = report.Ready
	}
	return b, len(b.named)+len(b.rest) > 0
}

// was is what a worker lacked that is now as it is. Of one that is not named that is known only where all of those
// lacked the same; one that cannot have been among them has joined.
func (b belief) was(w fleet.Worker, is string) (code string, known, joined bool) {
	if len(b.unanswered) > 0 {
		if slices.Contains(b.unanswered, is) {
			return is, true, false
		}
		return b.unanswered[0], true, false
	}
	if code, named := b.named[w.ARN]; named {
		return code, true, false
	}
	if len(b.rest) == 0 || w.Launched.After(b.at) {
		return "", false, true
	}
	if len(b.rest) == 1 {
		for code := range b.rest {
			return code, true, false
		}
	}
	return "", false, false
}

// words are how a log says what workers lack, or that they lack nothing.
type words struct{ well, became, ill string }

// changes is the difference between a belief and what is found, in the log's words.
type changes struct {
	well, ill, joined, gone []string
	rest                    map[string]int // as belief's, now
}

func (b belief) compare(workers []fleet.Worker, now standing, say words) changes {
	c := changes{rest: map[string]int{}}
	word := func(code string) string {
		if code == "" {
			return say.well
		}
		return code
	}
	for _, w := range workers {
		is := now[w.ARN]
		was, known, joined := b.was(w, is)
		_, named := b.named[w.ARN]
		named = named || len(b.unanswered) > 0
		if !named && !joined {
			c.rest[is]++
		}
		switch {
		case joined:
			c.joined = append(c.joined, w.ID+" "+word(is))
		case !known || is == was:
		case is == "":
			c.well = append(c.well, w.ID)
		case named:
			c.ill = append(c.ill, fmt.Sprintf("%s %s, was %s", w.ID, is, word(was)))
		default:
			c.ill = append(c.ill, w.ID+" "+is)
		}
	}
	for worker, was := range b.named {
		if _, here := now[worker]; !here {
			c.gone = append(c.gone, fmt.Sprintf("%s, was %s", ledger.InstanceID(worker), word(was)))
		}
	}
	slices.Sort(c.gone)
	return c
}

// unclear reports whether workers have changed without anybody knowing which: the counts differ.
func (b belief) unclear(rest map[string]int) bool {
	if len(b.rest) > 1 {
		return !maps.Equal(b.rest, rest)
	}
	return total(b.rest) != total(rest)
}

func total(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

// tellChanges logs what has become of workers since b. What nobody can know, because b is a report that leaves
// workers out, it does not claim: it says so, and gives numbers.
func (r *Rotator) tellChanges(b belief, workers []fleet.Worker, now standing, say words, about ...zap.Field) {
	c := b.compare(workers, now, say)
	if left := total(b.rest) - b.rest[""]; left > 0 {
		about = append(about, zap.Int("not_named_before", left))
	}
	r.workersAre(say.became, c.well, about...)
	r.workersAre(say.ill, c.ill, about...)
	r.workersAre("workers have joined", c.joined, about...)
	r.workersAre("workers have gone", c.gone, about...)
	if b.unclear(c.rest) {
		r.Log.Info("workers have changed or gone that the last report does not name",
			append(about, zap.Strings("before", counted(b.rest, say)), zap.Strings("now", counted(c.rest, say)))...)
	}
}

func counted(counts map[string]int, say words) []string {
	list := []string{}
	for _, code := range slices.Sorted(maps.Keys(counts)) {
		word := code
		if code == "" {
			word = say.well
		}
		list = append(list, fmt.Sprintf("%s %d", word, counts[code]))
	}
	return list
}
