package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rotatessh/rotatessh/common/ledger"
)

// Events are told what a demo does. Its methods are called by several goroutines and must not block for
// long.
type Events interface {
	Progress(Progress)
	// Done gives the figures, right or wrong, once they are complete.
	Done(Figures)
	// Up says how to reach the fleet of a demo that is kept.
	Up(Access)
}

// Run starts a fleet, rotates its key from nothing and then, under the eyes of two controllers, again and
// again, proves the result by real log-ins, and ends the fleet. If keep is set and every figure is right, the
// fleet stays up until ctx ends, which is then no error.
//
// An error that some logs explain is a *LoggedError; wrong figures are a *WrongError.
func Run(ctx context.Context, o Options, keep bool, events Events) (err error) {
	f, err := Start(ctx, o, events.Progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	figures, err := f.demonstrate(ctx)
	if err != nil {
		return err
	}
	events.Done(figures.Figures)
	if wrong := figures.Check(o); len(wrong) > 0 {
		return f.withLogs(&WrongError{Wrong: wrong, Failures: figures.failures, Doubts: figures.doubts})
	}
	if !keep {
		return nil
	}
	events.Up(f.Access())
	select {
	case <-ctx.Done():
		return nil
	case <-f.alive.Done():
		return context.Cause(f.alive)
	}
}

// results are the figures and what explains wrong ones.
type results struct {
	Figures
	failures []LoginFailure
	doubts   []error
}

// demonstrate runs the rotations. The controllers' failures never end it early, except through the time
// that it takes: a demo that locks its controllers out still says how.
func (f *Fleet) demonstrate(ctx context.Context) (results, error) {
	first, err := f.Rotate(ctx)
	if err != nil {
		return results{}, err
	}
	if _, err := f.Settle(ctx, first); err != nil {
		return results{}, err
	}
	out := results{Figures: Figures{Workers: f.size(), SSHD: f.sshd.version, Rotations: 1}}
	observation := f.Observe(ctx)
	defer observation.Stop()
	if err := observation.Round(ctx); err != nil {
		return results{}, f.observed(observation, err)
	}
	last := first
	for range f.options.Rotations - 1 {
		if last, err = f.again(ctx, observation, &out.Figures); err != nil {
			return results{}, f.observed(observation, err)
		}
	}
	return out, f.conclude(ctx, last, observation, &out)
}

// again runs one more rotation and waits until nothing of it is left to do.
func (f *Fleet) again(ctx context.Context, o *Observation, out *Figures) (Rotation, error) {
	r, err := f.Rotate(ctx)
	if err != nil {
		return Rotation{}, err
	}
	out.Rotations++
	settled, err := f.Settle(ctx, r)
	if err != nil {
		return Rotation{}, err
	}
	out.Accepted, out.Retired = settled.Accepted, settled.Retired
	if out.Ready, err = f.readyByRotator(ctx, r); err != nil {
		return Rotation{}, err
	}
	if out.Rotations == 2 {
		took, known := f.watch.timeToReady(r.Pair.Fingerprint())
		if known {
			out.SecondsToReady = seconds(took)
		}
	}
	return r, o.Round(ctx)
}

// conclude proves the last rotation and completes the figures.
func (f *Fleet) conclude(ctx context.Context, last Rotation, o *Observation, out *results) error {
	f.say("trying the old key and the new one")
	proofs := f.Prove(ctx, last)
	var err error
	if out.Copy, err = f.Copy(ctx, last); err != nil {
		proofs.Doubts = append(proofs.Doubts, err)
	}
	// The controllers go on until they have seen enough of the demo's time.
	err = o.roundAnd(ctx, func(tried int) bool { return tried >= leastLogins(time.Since(f.began)+time.Second) })
	if err != nil {
		return f.observed(o, err)
	}
	logins := o.Stop()
	out.OldKeyRefused, out.NewKeyAccepted = proofs.OldKeyRefused, proofs.NewKeyAccepted
	out.ForeignLinesKept = proofs.ForeignLinesKept == f.size()
	out.LoginsTried, out.LoginsFailed = logins.Tried, logins.Failed
	out.failures, out.doubts = logins.Failures, proofs.Doubts
	out.SecondsTotal = seconds(time.Since(f.began))
	return nil
}

// observed adds to an error that the controllers were locked out, if they were: it is what matters most.
func (f *Fleet) observed(o *Observation, err error) error {
	logins := o.Logins()
	if logins.Failed == 0 {
		return f.withLogs(err)
	}
	return f.withLogs(fmt.Errorf("%d of %d log-ins failed, the first one %s; and %w", logins.Failed, logins.Tried, logins.Failures[0], err))
}

// readyByRotator is how many workers the rotator itself counted before it switched to r's key.
func (f *Fleet) readyByRotator(ctx context.Context, r Rotation) (int, error) {
	const enough = 50 // a rotation writes a handful
	reports, err := f.ledger.Reports(ctx, f.resources.secretARN, enough)
	if err != nil {
		return 0, err
	}
	return countReady(reports, r.VersionID), nil
}

func countReady(reports []ledger.Report, versionID string) int {
	ready := 0
	for _, report := range reports {
		gated := report.Phase == "testSecret" || report.Phase == "finishSecret"
		if gated && report.VersionID == versionID && report.Passed {
			ready = max(ready, report.Ready)
		}
	}
	return ready
}
