package demo

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

func revoke() Scenario {
	return Scenario{
		Name:    "revoke",
		Purpose: "a key is stolen: it is refused at once, after the operator has accepted to lose one worker for a while",
		workers: 3,
		// What is refused at once must not be refused because its time as a retiring key is over. The rotator
		// gives a revocation's gate half of its time.
		adapt: func(o *Options) { o.RetireAfter, o.functionTimeout, o.readAgain = 30*time.Second, 12*time.Second, true },
		act:   playRevoke,
	}
}

// revokeFacts are what was observed while a stolen key was revoked.
type revokeFacts struct {
	Common
	StoppedWorker      string         `json:"stoppedWorker"` // instance id
	SwitchedEarly      bool           `json:"switchedEarly"` // before the loss of that worker was accepted
	NamedWorkers       []string       `json:"namedWorkers"`  // by the refusal
	ReasonCodes        map[string]int `json:"reasonCodes"`
	WrongNumberRefused bool           `json:"wrongNumberRefused"` // of workers to lose
	GivenUpWorkers     []string       `json:"givenUpWorkers"`     // by the report of the switch
	RefusedAtOnce      int            `json:"refusedAtOnce"`      // workers that refused the stolen key long before a retiring key's time is over
	SecondsToRefuse    float64        `json:"secondsToRefuse"`    // from the switch to the last of them
	// ReadAgain are log-ins of controllers that had the stolen key from memory, were refused, and read again.
	ReadAgain       int  `json:"readAgain"`
	RollbackRefused bool `json:"rollbackRefused"` // to the stolen key
}

func (f *revokeFacts) findings() []Finding {
	return []Finding{
		equal("switchedEarly", "AWSCURRENT moved before the loss of a worker was accepted", f.SwitchedEarly, false),
		equal("namedWorkers", "workers that the refusal named", f.NamedWorkers, []string{f.StoppedWorker}),
		equal("reasonCodes", "and why", f.ReasonCodes, map[string]int{"behind": 1}),
		equal("wrongNumberRefused", "another number of workers than would be lost is refused", f.WrongNumberRefused, true),
		equal("givenUpWorkers", "workers given up, by the report of the switch", f.GivenUpWorkers, []string{f.StoppedWorker}),
		equal("refusedAtOnce", "workers that refuse the stolen key at once", f.RefusedAtOnce, f.Workers-1),
		below("secondsToRefuse", "seconds until they do", f.SecondsToRefuse, patienceAtOnce.Seconds()),
		atLeast("readAgain", "log-ins with the stolen key from memory that had to read again", f.ReadAgain, 1),
		equal("rollbackRefused", "rollback to the stolen key is refused", f.RollbackRefused, true),
	}
}

// patienceAtOnce is far longer than "at once", and far shorter than a retiring key's time here.
const patienceAtOnce = 10 * time.Second

func playRevoke(ctx context.Context, p *play) (facts, error) {
	w := p.Workers()[2]
	f := &revokeFacts{StoppedWorker: w.ID, NamedWorkers: []string{}, ReasonCodes: map[string]int{}, GivenUpWorkers: []string{}}
	stolen, err := p.CurrentPair(ctx)
	if err != nil {
		return nil, err
	}
	p.stopAgent(w)
	p.tell("key %s is stolen; and the agent of %s (%s) is stopped", short(stolen), w.Name, w.ID)
	version, err := p.revokeInVain(ctx, f)
	if err != nil || f.SwitchedEarly {
		return f, err
	}
	r, err := p.revokeWithout(ctx, f, w, stolen, version)
	if err != nil {
		return nil, err
	}
	if f.RefusedAtOnce < p.size()-1 {
		return f, nil
	}
	p.startAgent(w)
	p.tell("the agent of %s is back", w.Name)
	if _, err := p.Settle(ctx, r); err != nil {
		return nil, err
	}
	p.controllers.Join(w)
	p.tell("%s, too, accepts the new key and refuses the stolen one", w.Name)
	out, err := p.try(ctx, "rollback", "--yes")
	if err != nil {
		return nil, err
	}
	f.RollbackRefused = out.status != 0
	return f, p.controllers.Round(ctx)
}

// revokeInVain asks for a revocation that would lose a worker, without a number and with a wrong one. It gives
// the version that is pending then.
func (p *play) revokeInVain(ctx context.Context, f *revokeFacts) (version string, err error) {
	before, err := p.holder(ctx, labelCurrent)
	if err != nil {
		return "", err
	}
	p.watch.begin("revoke")
	if _, err := p.askToRevoke(ctx); err != nil {
		return "", err
	}
	if version, err = p.holder(ctx, labelPending); err != nil {
		return "", err
	}
	if f.SwitchedEarly, err = p.hasLeft(ctx, before); err != nil || f.SwitchedEarly {
		return version, errors.Join(err, p.controllers.Round(ctx))
	}
	if f.NamedWorkers, f.ReasonCodes, err = p.named(ctx, version); err != nil {
		return "", err
	}
	p.tell("nothing has been switched; the number of workers to lose must be the right one, too")
	out, err := p.askToRevoke(ctx, "--accept-lockout=2")
	if err != nil {
		return "", err
	}
	f.WrongNumberRefused = out.status != 0
	f.SwitchedEarly, err = p.hasLeft(ctx, before)
	return version, err
}

func (p *play) askToRevoke(ctx context.Context, flags ...string) (output, error) {
	return p.try(ctx, slices.Concat([]string{"revoke"}, flags, []string{"--reason", "INC-1234: laptop stolen", "--yes"})...)
}

// hasLeft reports whether AWSCURRENT is on another version.
func (p *play) hasLeft(ctx context.Context, version string) (bool, error) {
	current, err := p.holder(ctx, labelCurrent)
	return current != version, err
}

// revokeWithout revokes the key although one worker does not follow, which the operator accepts.
func (p *play) revokeWithout(ctx context.Context, f *revokeFacts, w *Worker, stolen keypair.Pair, version string) (Rotation, error) {
	if err := p.controllers.Leave(ctx, w); err != nil {
		return Rotation{}, err
	}
	if out, err := p.askToRevoke(ctx, "--accept-lockout=1"); err != nil || out.status != 0 {
		return Rotation{}, errors.Join(err, errors.New(out.stderr))
	}
	r, err := p.AwaitRotation(ctx, version)
	if err != nil {
		return Rotation{}, err
	}
	switched, _ := p.switched(version, time.Time{})
	if f.RefusedAtOnce, err = p.countRefusals(ctx, stolen, w); err != nil {
		return Rotation{}, err
	}
	f.SecondsToRefuse = seconds(time.Since(switched))
	p.tell("%.1f s after the switch %s %s the stolen key; a retiring one would have %v", f.SecondsToRefuse, plural.Of(f.RefusedAtOnce, "worker"), plural.Verb(f.RefusedAtOnce, "refuses", "refuse"), p.options.RetireAfter)
	if err := p.controllers.Round(ctx); err != nil {
		return Rotation{}, err
	}
	f.ReadAgain = p.controllers.Logins().ReadAgain
	var h history
	err = p.ask(ctx, &h, "report")
	report, _ := h.find("finishSecret", version)
	f.GivenUpWorkers = instances(report.Laggards)
	return r, err
}

// countRefusals waits until every worker but one refuses a key in a real log-in, though not for long, and gives
// the number of those that do.
func (p *play) countRefusals(ctx context.Context, pair keypair.Pair, but *Worker) (n int, err error) {
	limited, cancel := context.WithTimeout(ctx, patienceAtOnce)
	defer cancel()
	err = until(limited, func() (bool, error) {
		n = 0
		for _, w := range p.Workers() {
			if w != but && refusesAll(limited, w, []keypair.Pair{pair}) == nil {
				n++
			}
		}
		return n == p.size()-1, nil
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return n, nil
	}
	return n, err
}
