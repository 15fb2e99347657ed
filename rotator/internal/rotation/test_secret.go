package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// testSecret waits until the fleet is ready for the new key and tries it: it logs in to a sample of workers.
// Passing lets the rotation go on; what it decides is decided again by finishSecret.
func (r *Rotator) testSecret(ctx context.Context, req request) error {
	dry, err := r.dryRun(ctx, req)
	if err != nil || dry {
		return err
	}
	s, ready, err := r.untilUnchanged(ctx, req)
	report := readinessReport(ready)
	report.Spread = readySpread(ready, s.beacon.PublishedAt)
	if err == nil {
		report.Probed, err = r.probe(ctx, req.secretARN, ready, s.pending.Signer())
	}
	report.Message = verdict(ready)
	if err != nil {
		report.Message = err.Error()
	}
	if errors.Is(err, errProbe) && termsOf(req.asked).force {
		r.Log.Warn("going on although probes failed, since it is forced", logging.SecretID(req.secretARN), logging.VersionID(req.token), zap.Error(err))
		err = nil
	}
	report.Passed = err == nil
	r.report(ctx, req, s, report)
	return err
}

// dryRun recognises the one case in which this step runs alone: rotation is being switched on without an
// immediate rotation, and the token marks a temporary version that has no value or a copy of the current
// one. A pending key that has been published shows a rotation in earnest, and so does any other value. What
// passes here by mistake promotes nothing, since finishSecret asks for the pending key and the fleet again.
func (r *Rotator) dryRun(ctx context.Context, req request) (bool, error) {
	var s state
	published := false
	err := r.settle(ctx, func() (bool, error) {
		var err error
		s, err = r.reconcile(ctx, req.secretARN)
		published = published || s.published
		return err == nil && s.looksDry(req.token), err
	})
	s.published = published
	if err != nil || !s.looksDry(req.token) {
		return false, err
	}
	r.Log.Info("rotation is being switched on, checking what is in force", logging.SecretID(req.secretARN))
	return true, r.check(ctx, req, s)
}

func (s state) looksDry(token string) bool {
	nothingNew := s.pending.IsZero() || s.pending.PublicKey() == s.current.PublicKey()
	return nothingNew && !hasVersion(s.doc.Keyset, token)
}

// check looks at permissions, fleet and readiness as they are, and waits for nobody. Workers that have had no
// time to acknowledge, because the keyset has just been published, are no fault.
func (r *Rotator) check(ctx context.Context, req request, s state) error {
	workers, err := r.Fleet.Workers(ctx)
	if err != nil {
		return err
	}
	now, err := r.now()
	if err != nil {
		return err
	}
	q := s.question(r.Policy, s.current.PublicKey(), now)
	findings := make(fleet.Findings, len(workers))
	if err := r.ask(ctx, req.secretARN, workers, q, findings); err != nil {
		return err
	}
	if s.current.IsZero() || s.published || len(workers) == 0 {
		r.Log.Info("no worker can be ready yet", zap.Int("workers", len(workers)))
		return nil
	}
	if q.Waived, err = r.waived(ctx, req.secretARN, now); err != nil {
		return err
	}
	ready := fleet.Judge(workers, findings, q)
	if !ready.Reaches(r.Policy.Threshold) {
		return fmt.Errorf("checking before the first rotation: %w: %s", errNotReady, ready.Summary())
	}
	return nil
}

func verdict(ready fleet.Readiness) string {
	if n := len(ready.Laggards) + len(ready.Waived); n > 0 {
		return "the gate is open, and " + plural.Of(n, "worker") + plural.Verb(n, " that is not ready is", " that are not ready are") + " given up"
	}
	return "the fleet is ready"
}

// codeBooting is how reports and the log call a worker that is left out of the count for now.
const codeBooting = "booting"

func readinessReport(ready fleet.Readiness) ledger.Report {
	booting := fleet.ARNs(ready.Exempt[:min(len(ready.Exempt), maxLaggards)])
	return ledger.Report{
		Expected: ready.Expected, Ready: len(ready.Ready), Reasons: ready.Reasons, Booting: booting,
		Laggards: first(ready.Laggards), Waived: first(ready.Waived), Pushed: first(ready.Pushed),
		Unlisted: unlisted(slices.Concat(beyond(ready.Laggards), beyond(ready.Waived)), len(ready.Exempt)-len(booting)),
		Untagged: fleet.ARNs(ready.Untagged[:min(len(ready.Untagged), maxStrays)]), Unverified: fleet.ARNs(ready.Unverified[:min(len(ready.Unverified), maxLaggards)]),
	}
}

func first(list []ledger.Laggard) []ledger.Laggard { return list[:min(len(list), maxLaggards)] }

func beyond(list []ledger.Laggard) []ledger.Laggard { return list[min(len(list), maxLaggards):] }

// unlisted counts by code those for whom a report has no room.
func unlisted(list []ledger.Laggard, booting int) map[string]int {
	counts := map[string]int{}
	for _, l := range list {
		counts[l.Code]++
	}
	if booting > 0 {
		counts[codeBooting] = booting
	}
	return counts
}
