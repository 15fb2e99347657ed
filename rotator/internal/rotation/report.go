package rotation

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// maxLaggards bounds a report, which must fit in a DynamoDB item of 400 KB.
const maxLaggards = 100

// phaseSteady is the report of a rotation whose old key's time is over.
const phaseSteady = "steady"

// asksFleet tells the reports of steps that ask every worker whether it is ready.
func asksFleet(report ledger.Report) bool {
	return report.Phase == "testSecret" || report.Phase == "finishSecret"
}

// report records how a step ended. It is for people, and a rotation must not fail for it.
func (r *Rotator) report(ctx context.Context, req request, s state, report ledger.Report) {
	before, _, err := r.findReport(ctx, s, req.step)
	if err != nil {
		before = ledger.Report{} // one that cannot be read counts for none
	}
	r.replace(ctx, req, s, before, report)
}

// replace is report where the one that stands is known; it is zero where there is none.
func (r *Rotator) replace(ctx context.Context, req request, s state, before, report ledger.Report) {
	now, err := r.now()
	if err == nil && s.doc.Keyset.Generation == 0 {
		return // there is no generation to file it under
	}
	report.SecretARN, report.Generation, report.Phase = req.secretARN, s.doc.Keyset.Generation, req.step
	report.VersionID, report.Pending, report.At = req.token, s.pending.Fingerprint(), now
	if report.Asked == "" {
		report.Asked = r.askedFor(ctx, req)
	}
	if before.VersionID == req.token {
		report.Failures, report.Since = before.Failures, before.Since
	}
	if !report.Passed {
		report.Failures++
	}
	if report.Since.IsZero() {
		report.Since = now
	}
	if report.Reasons == nil {
		report.Reasons = map[string]int{}
	}
	if err == nil {
		err = r.Ledger.PutReport(ctx, report)
	}
	if err != nil {
		r.Log.Warn("report was not written", logging.Step(req.step), zap.Error(err))
	}
	r.tell(ctx, s, report)
}

// The codes under which the report of a retirement names workers.
const (
	codeStillAccepted = "still-accepted"
	codeUnknown       = "unknown"
)

// reportFinished records that AWSCURRENT has moved. A later run, which knows nothing of the fleet that was
// asked, does not write over the report of the run that does.
func (r *Rotator) reportFinished(ctx context.Context, req request, s state, ready fleet.Readiness) {
	report := readinessReport(ready)
	report.Passed, report.Message = true, "the new key is current"
	if n := len(ready.Laggards) + len(ready.Waived); n > 0 {
		report.Message += ", and " + plural.Of(n, "worker") + plural.Verb(n, " that was not ready is", " that were not ready are") + " given up"
	}
	if ready.Findings == nil {
		report.Message = "the new key is current; completed by a later run"
		if _, found, err := r.findReport(ctx, s, "finishSecret"); found || err != nil {
			return
		}
	}
	req.step = "finishSecret"
	r.report(ctx, req, s, report)
}

func (r *Rotator) findReport(ctx context.Context, s state, phase string) (ledger.Report, bool, error) {
	const newest = 16 // more than there are phases in one generation
	reports, err := r.Ledger.Reports(ctx, s.secret.arn, newest)
	for _, have := range reports {
		if have.Generation == s.doc.Keyset.Generation && have.Phase == phase {
			return have, true, err
		}
	}
	return ledger.Report{}, false, err
}

// reportSteady records, once the old key's time is over or it is revoked, which workers have proved that they
// refuse it. It asks the fleet again on each schedule until all have.
func (r *Rotator) reportSteady(ctx context.Context, s state) {
	old, found := lastRetired(s)
	key := old.PublicKey
	if !found {
		r.measure(s, "schedule", nil)
		return
	}
	have, found, err := r.findReport(ctx, s, phaseSteady)
	if err == nil && found && have.Passed {
		r.measure(s, "schedule", metricsOf(have))
		return
	}
	retirement, since, pushed, err := r.retirement(ctx, s, key)
	if err != nil {
		r.Log.Warn("retirement of the old key was not checked", logging.Fingerprint(key.Fingerprint()), zap.Error(err))
		return
	}
	r.tellRetirement(s, old, have, retirement)
	workers := len(retirement.Refused) + len(retirement.Accepting) + len(retirement.Unknown)
	report := ledger.Report{
		Spread:   retiredSpread(retirement, since, old.NotAfter),
		Expected: workers, Ready: len(retirement.Refused), Passed: workers == len(retirement.Refused),
		Message: fmt.Sprintf("%s %s the old key %s", plural.Share(len(retirement.Refused), workers, "worker"), plural.Verb(len(retirement.Refused), "refuses", "refuse"), key.Fingerprint()),
		Reasons: map[string]int{},
	}
	var lagging []ledger.Laggard
	add := func(code, message string, of []fleet.Worker) {
		for _, w := range of {
			report.Reasons[code]++
			lagging = append(lagging, ledger.Laggard{Worker: w.ARN, Code: code, Message: message})
		}
	}
	add(codeStillAccepted, "its sshd accepts the old key", retirement.Accepting)
	for _, w := range retirement.Refused {
		if pushed[w.ARN] && len(report.Pushed) < maxLaggards {
			report.Pushed = append(report.Pushed, ledger.Laggard{Worker: w.ARN, Code: codePushed, Message: "has no agent; the old key was removed by Systems Manager, and refused at a log-in"})
		}
	}
	add(codeUnknown, "it has not acknowledged that its sshd refuses the old key", retirement.Unknown)
	report.Laggards, report.Unlisted = first(lagging), unlisted(beyond(lagging), 0)
	r.replace(ctx, request{step: phaseSteady, secretARN: s.secret.arn, token: s.facts.current.versionID}, s, have, report)
}

// lastRetired is the key of a steady keyset that went out of use last: the one that is retiring and whose time is
// over, or, after a revocation, the one that never was. That one's time ended with the publication.
func lastRetired(s state) (keyset.Key, bool) {
	if s.beacon.Phase != keyset.PhaseSteady {
		return keyset.Key{}, false
	}
	var last keyset.Key
	for _, k := range s.doc.Keyset.Keys {
		if k.State == keyset.Retiring && k.NotAfter.After(last.NotAfter) {
			last = k
		}
	}
	if retired := s.doc.Keyset.Retired; last.PublicKey.IsZero() && len(retired) > 0 && s.current.Revokes(retired[0].Fingerprint) {
		last = keyset.Key{State: keyset.Retiring, VersionID: retired[0].VersionID, PublicKey: retired[0].PublicKey, NotAfter: s.beacon.PublishedAt}
	}
	return last, !last.PublicKey.IsZero()
}

// retirement also gives when each worker came to say what it says, and for which of them the rotator says it.
func (r *Rotator) retirement(ctx context.Context, s state, key keyset.PublicKey) (_ fleet.Retirement, since map[string]time.Time, pushed map[string]bool, err error) {
	now, err := r.now()
	if err != nil {
		return fleet.Retirement{}, nil, nil, err
	}
	workers, err := r.Fleet.Workers(ctx)
	if err != nil {
		return fleet.Retirement{}, nil, nil, err
	}
	pushed = make(map[string]bool)
	answers, since := make(map[string]ledger.Accepted, len(workers)), make(map[string]time.Time, len(workers))
	err = r.Ledger.EachAck(ctx, s.secret.arn, fleet.ARNs(workers), now, func(a ledger.Ack) {
		answers[a.Worker], since[a.Worker] = fleet.RetiredAt(a, key.Fingerprint()), a.AppliedAt
		if a.Pushed {
			pushed[a.Worker] = true
		}
	})
	return fleet.SortRetired(workers, answers), since, pushed, err
}
