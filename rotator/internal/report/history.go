package report

import (
	"slices"
	"time"

	"github.com/rotatessh/rotatessh/common/ledger"
)

// Past is one rotation, or one refused request for a rotation, as the rotator's records tell it. The version it was
// about names it, except that a rollback is about a version that an earlier rotation was about, too.
type Past struct {
	VersionID   string `json:"versionId,omitempty"` // none of a request that was refused
	Kind        string `json:"kind"`                // KindRotation, KindRollback, KindRevocation or KindRequest
	Outcome     string `json:"outcome"`
	Fingerprint string `json:"fingerprint,omitempty"` // of the key that workers were asked about
	// Asked says who asked for it and why; empty where nobody did but Secrets Manager, or CloudTrail alone knows who
	// called RotateSecret. EndedBy says the same of an abort.
	Asked   string `json:"asked,omitempty"`
	EndedBy string `json:"endedBy,omitempty"`
	// Started is the time of its first trace, and Ended that of the switch or the abort: zero before, or if not known.
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	Seconds *float64  `json:"seconds"` // from Started to Ended, or to now while it is under way; null if not known
	Failed  []Failed  `json:"failed"`  // the steps that have failed, in the order of a rotation
	// Expected and Ready count workers at the switch or, without one, when they were last asked; Waived those left out.
	Expected int `json:"expected"`
	Ready    int `json:"ready"`
	Waived   int `json:"waived"`
	// TimeToReadyP99 is in seconds; null while fewer workers are ready.
	TimeToReadyP99 *float64 `json:"timeToReadyP99"`
	// Retired tells what became of the key that the rotation took out of use; null before that one's time is over.
	Retired *Retired        `json:"retired"`
	Records []ledger.Report `json:"records,omitempty"` // all of them, the newest first
}

// Failed is a step that has failed.
type Failed struct {
	Step  string `json:"step"`
	Times int    `json:"times"`
}

// Retired counts the workers that refuse a key whose time is over.
type Retired struct {
	Expected int       `json:"expected"`
	Refused  int       `json:"refused"`
	At       time.Time `json:"at"` // when they were last asked
}

// The kinds of what a Past tells.
const (
	KindRotation   = "rotation"
	KindRollback   = "rollback"
	KindRevocation = "revocation"
	KindRequest    = "request"
)

// The outcomes of a Past.
const (
	Underway   = InProgress
	StillFails = Failing
	Switched   = "switched"
	RolledBack = "rolled-back"
	Revoked    = "revoked"
	Aborted    = "aborted"
	Abandoned  = "abandoned" // its version lost AWSPENDING in another way: Secrets Manager or somebody moved the label
	Refused    = "refused"
)

// The phases of records that mean something here; the others are the steps of a rotation.
const (
	phaseTest     = "testSecret"
	phaseFinish   = "finishSecret"
	phaseSteady   = "steady"
	phaseAsked    = "requested"
	phaseRefused  = "request-refused"
	phaseAbort    = "abort"
	phaseRollback = "rollback"
	phaseRevoke   = "revoke"
)

func steps() []string { return []string{"createSecret", "setSecret", phaseTest, phaseFinish} }

// historyOf tells the rotations of which there are records, the newest first, as records are.
func historyOf(s Secret, records []ledger.Report, now time.Time) []Past {
	list := []Past{}
	for _, group := range grouped(records) {
		list = append(list, group.tell(s, now))
	}
	slices.Reverse(list)
	return list
}

// group is the records of one rotation, the oldest first.
type group []ledger.Report

func grouped(records []ledger.Report) (groups []group) {
	for _, record := range slices.Backward(records) {
		i := -1
		switch record.Phase {
		case phaseRefused:
		case phaseSteady:
			i = before(groups, record.Generation)
		default:
			i = latest(groups, record)
		}
		if i < 0 {
			i = len(groups)
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], record)
	}
	return groups
}

// latest is the last group of the record's version, or -1. When AWSCURRENT has moved to a version, the next step for
// it belongs to a rollback.
func latest(groups []group, record ledger.Report) int {
	for i, g := range slices.Backward(groups) {
		if g[0].VersionID != record.VersionID || g[0].Phase == phaseRefused {
			continue
		}
		if slices.Contains(steps(), record.Phase) && g.switched() && record.Generation > g.generation() {
			return -1
		}
		return i
	}
	return -1
}

// before is the group whose end led to the retirement that is told about in a generation, or -1. A retirement is
// filed under the version that is current, which after an abort has nothing to do with the key.
func before(groups []group, generation int64) int {
	found, newest := -1, int64(-1)
	for i, g := range groups {
		if of := g.generation(); of <= generation && of >= newest {
			found, newest = i, of
		}
	}
	return found
}

// generation is the last one in which the rotation did something: a request is filed under the one before.
func (g group) generation() int64 {
	last := int64(-1)
	for _, record := range g {
		if record.Phase != phaseAsked && record.Phase != phaseRefused {
			last = max(last, record.Generation)
		}
	}
	return last
}

// last is the newest record of one of the phases, in the order of preference.
func (g group) last(fits func(ledger.Report) bool, phases ...string) (ledger.Report, bool) {
	for _, phase := range phases {
		for _, record := range slices.Backward(g) {
			if record.Phase == phase && fits(record) {
				return record, true
			}
		}
	}
	return ledger.Report{}, false
}

func passed(record ledger.Report) bool { return record.Passed }

func whatever(ledger.Report) bool { return true }

func counted(record ledger.Report) bool { return record.Expected > 0 }

func (g group) has(phase string) bool {
	_, found := g.last(passed, phase)
	return found
}

func (g group) switched() bool { return g.has(phaseFinish) }

func (g group) tell(s Secret, now time.Time) Past {
	p := Past{VersionID: g[0].VersionID, Failed: g.failed(), Records: g.newestFirst()}
	p.Kind = g.kind(s)
	p.Outcome = g.outcome(s, p.Kind)
	p.Asked, p.EndedBy = g.asked()
	for _, record := range g {
		if record.Pending != "" {
			p.Fingerprint = record.Pending
		}
	}
	p.Started = g.started(s, p.Kind)
	if end, ended := g.last(passed, phaseAbort, phaseFinish); ended {
		p.Ended = end.At
	}
	switch {
	case !p.Ended.IsZero():
		p.Seconds = lasted(p.Started, p.Ended)
	case p.Outcome == Underway, p.Outcome == StillFails:
		p.Seconds = lasted(p.Started, now)
	}
	if asked, found := g.last(counted, phaseFinish, phaseTest); found {
		p.Expected, p.Ready, p.Waived = asked.Expected, asked.Ready, len(asked.Waived)
	}
	if test, found := g.last(func(r ledger.Report) bool { return r.Spread != nil }, phaseTest); found {
		p.TimeToReadyP99 = converged("", *test.Spread).P99
	}
	if steady, found := g.last(whatever, phaseSteady); found {
		p.Retired = &Retired{Expected: steady.Expected, Refused: steady.Ready, At: steady.At}
	}
	return p
}

func lasted(from, to time.Time) *float64 {
	seconds := max(0, to.Sub(from).Round(time.Millisecond).Seconds())
	return &seconds
}

func (g group) kind(s Secret) string {
	version := g[0].VersionID
	switch {
	case g[0].Phase == phaseRefused:
		return KindRequest
	case g.has(phaseRevoke):
		return KindRevocation
	case g.has(phaseRollback), !g.switched() && s.Pending() == version && s.Holder(LabelPrevious) == version:
		return KindRollback
	}
	return KindRotation
}

// outcome goes by the records first, and by the labels where they say nothing yet.
func (g group) outcome(s Secret, kind string) string {
	version := g[0].VersionID
	switch {
	case kind == KindRequest:
		return Refused
	case g.switched() || kind == KindRollback && g.has(phaseRollback) || kind == KindRevocation:
		return map[string]string{KindRotation: Switched, KindRollback: RolledBack, KindRevocation: Revoked}[kind]
	case g.has(phaseAbort):
		return Aborted
	case s.Pending() == version:
		return rotationOf(s, g.newestFirst()).State
	case s.Holder(LabelCurrent) == version, s.Holder(LabelPrevious) == version, g[0].Phase == phaseSteady:
		return Switched // older records than these have it
	}
	return Abandoned
}

func (g group) newestFirst() []ledger.Report {
	records := slices.Clone([]ledger.Report(g))
	slices.Reverse(records)
	return records
}

func (g group) asked() (asked, endedBy string) {
	for _, record := range g {
		switch {
		case record.Phase == phaseAbort:
			endedBy = record.Asked
		case asked == "":
			asked = record.Asked
		}
	}
	return asked, endedBy
}

// started is the time of the first trace. The version of a rollback is older than that.
func (g group) started(s Secret, kind string) time.Time {
	first := g[0].At
	for _, record := range g {
		if !record.Since.IsZero() && record.Since.Before(first) {
			first = record.Since
		}
	}
	for _, v := range s.Versions {
		if v.ID == g[0].VersionID && kind != KindRollback && !v.Created.IsZero() && v.Created.Before(first) {
			first = v.Created
		}
	}
	return first
}

// failed counts. A record of before there were counts is one failure.
func (g group) failed() []Failed {
	list := []Failed{}
	for _, step := range steps() {
		times := 0
		for _, record := range g {
			switch {
			case record.Phase != step:
			case record.Passed:
				times += record.Failures
			default:
				times += max(1, record.Failures)
			}
		}
		if times > 0 {
			list = append(list, Failed{Step: step, Times: times})
		}
	}
	return list
}
