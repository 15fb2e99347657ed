package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// Scenario is something that goes wrong, or that an operator does, played on a real fleet. Controllers log in
// to the workers all the time, and what is observed is compared with what ought to be.
type Scenario struct {
	Name    string
	Purpose string // in one line

	workers int
	adapt   func(*Options)                              // what differs from the plain demo
	act     func(context.Context, *play) (facts, error) // begins with one key pair in use and observed controllers
}

// Scenarios are all that there are.
func Scenarios() []Scenario {
	return []Scenario{silentWorker(), crashFinish(), abort(), rollback(), revoke(), lateJoin(), eventDriven(), agentlessPush()}
}

// FindScenario gives the scenario of that name.
func FindScenario(name string) (Scenario, bool) {
	all := Scenarios()
	i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return Scenario{}, false
	}
	return all[i], true
}

// Line is one line of what a scenario tells the person who watches it.
type Line struct {
	Elapsed time.Duration
	Text    string
	Quoted  bool // it is what a command has printed
}

// Outcome is what was observed in a scenario.
type Outcome struct {
	// Facts is for JSON: an object with the scenario's name, its facts, and asExpected.
	Facts    any
	Findings []Finding
	Failures []LoginFailure
	Doubts   []error
}

// Wrong are the facts that are not as expected.
func (o Outcome) Wrong() []Wrong { return wrongOf(o.Findings) }

const (
	// lambdaDeadline is the time-out of the rotator's function in a scenario. It gives up waiting for the
	// fleet a quarter of it earlier.
	lambdaDeadline = 8 * time.Second
	// scenarioPatience bounds every single wait, so that what will never come does not take minutes.
	scenarioPatience = 30 * time.Second
)

// Play plays a scenario. Of o, KeyType, LogLevel, StateDir, SSHD, Binaries and ServerLog count. An error means
// that the scenario could not be played to its end; that facts are not as expected is no error.
func Play(ctx context.Context, s Scenario, o Options, tell func(Line)) (out Outcome, err error) {
	o.Workers, o.Rotations = s.workers, minRotations
	o.scenario, o.functionTimeout, o.Patience = true, lambdaDeadline, scenarioPatience
	if s.adapt != nil {
		s.adapt(&o)
	}
	p := &play{listener: tell}
	f, err := Start(ctx, o, p.progress)
	if err != nil {
		return Outcome{}, err
	}
	p.Fleet = f
	defer func() { err = errors.Join(err, f.Close()) }()
	if o.scheduleEvery > 0 {
		f.parts.Go(func() { p.tick(f.alive, o.scheduleEvery) })
	}
	if err := p.begin(ctx); err != nil {
		return Outcome{}, f.withLogs(err)
	}
	defer p.controllers.Stop()
	observed, err := s.act(ctx, p)
	if err != nil {
		return Outcome{}, f.observed(p.controllers, err)
	}
	return p.conclude(ctx, s, observed)
}

// begin makes the first key pair and lets the controllers begin.
func (p *play) begin(ctx context.Context) error {
	first, err := p.Rotate(ctx)
	if err != nil {
		return err
	}
	if _, err := p.Settle(ctx, first); err != nil {
		return err
	}
	p.controllers = p.Observe(ctx)
	if err := p.controllers.Round(ctx); err != nil {
		return err
	}
	p.tell("%s %s key %s; two controllers log in all the time", plural.Of(p.size(), "worker"), plural.Verb(p.size(), "uses", "use"), short(first.Pair))
	return nil
}

// conclude tries all keys by real log-ins and judges.
func (p *play) conclude(ctx context.Context, s Scenario, observed facts) (Outcome, error) {
	p.tell("trying every key on every worker")
	current, err := p.CurrentPair(ctx)
	if err != nil {
		return Outcome{}, p.withLogs(err)
	}
	proofs := p.Prove(ctx, Rotation{Pair: current, Previous: p.outOfUse(current)})
	err = p.controllers.roundAnd(ctx, func(tried int) bool { return tried >= fewestLogins })
	if err != nil {
		return Outcome{}, p.observed(p.controllers, err)
	}
	logins := p.controllers.Stop()
	c := observed.common()
	*c = Common{
		Scenario: s.Name, Workers: p.size(), SSHD: p.sshd.version, NewKeyAccepted: proofs.NewKeyAccepted, OldKeyRefused: proofs.OldKeyRefused,
		ForeignLinesKept: proofs.ForeignLinesKept == p.size(), LoginsTried: logins.Tried, LoginsFailed: logins.Failed,
		SecondsTotal: seconds(time.Since(p.began)),
	}
	findings := append(observed.findings(), c.findings()...)
	c.AsExpected = len(wrongOf(findings)) == 0
	return Outcome{Facts: observed, Findings: findings, Failures: logins.Failures, Doubts: proofs.Doubts}, nil
}

// UnexpectedError says which facts are not as expected, and what explains them.
func (o Outcome) UnexpectedError(name string) error {
	wrong := o.Wrong()
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("scenario %q: %w", name, &WrongError{Wrong: wrong, Failures: o.Failures, Doubts: o.Doubts})
}
