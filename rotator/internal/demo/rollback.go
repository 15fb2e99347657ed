package demo

import (
	"context"
	"time"

	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

func rollback() Scenario {
	return Scenario{
		Name:    "rollback",
		Purpose: "an operator goes back to the previous key, which a worker without agent holds up, and resumes",
		workers: 3,
		act:     playRollback,
	}
}

// rollbackFacts are what was observed while the previous key became the current one again.
type rollbackFacts struct {
	Common
	StoppedWorker string         `json:"stoppedWorker"` // instance id
	SwitchedEarly bool           `json:"switchedEarly"` // AWSCURRENT moved while that worker had not followed
	Refused       bool           `json:"refused"`       // rollback was refused then
	NamedWorkers  []string       `json:"namedWorkers"`  // by the first attempt
	ReasonCodes   map[string]int `json:"reasonCodes"`
	Resumed       bool           `json:"resumed"` // the second attempt was made by "resume", and succeeded
	PreviousInUse bool           `json:"previousInUse"`
}

func (f *rollbackFacts) findings() []Finding {
	return []Finding{
		equal("switchedEarly", "AWSCURRENT moved before every worker had followed", f.SwitchedEarly, false),
		equal("refused", "rollback is refused then", f.Refused, true),
		equal("namedWorkers", "workers that it named", f.NamedWorkers, []string{f.StoppedWorker}),
		equal("reasonCodes", "and why", f.ReasonCodes, map[string]int{"behind": 1}),
		equal("resumed", "resume completes it when the agent is back", f.Resumed, true),
		equal("previousInUse", "the previous key is the current one again", f.PreviousInUse, true),
	}
}

func playRollback(ctx context.Context, p *play) (facts, error) {
	w := p.Workers()[2]
	f := &rollbackFacts{StoppedWorker: w.ID}
	first, err := p.holder(ctx, labelCurrent)
	if err != nil {
		return nil, err
	}
	second, err := p.Rotate(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := p.Settle(ctx, second); err != nil {
		return nil, err
	}
	p.tell("key %s has replaced %s; an operator wants that one back", short(second.Pair), short(second.Previous[0]))
	p.stopAgent(w)
	p.tell("the agent of %s (%s) is stopped", w.Name, w.ID)
	if err := p.rollBackInVain(ctx, f, first); err != nil || f.SwitchedEarly {
		return f, err
	}
	p.startAgent(w)
	p.tell("the agent of %s is back", w.Name)
	if err := p.rotatessh(ctx, "resume", "--yes"); err != nil {
		return nil, err
	}
	f.Resumed = true
	current, err := p.holder(ctx, labelCurrent)
	if err != nil {
		return nil, err
	}
	f.PreviousInUse = current == first
	back := Rotation{VersionID: first, Pair: second.Previous[0], Previous: []keypair.Pair{second.Pair}}
	if _, err := p.Settle(ctx, back); err != nil {
		return nil, err
	}
	p.tell("every worker accepts %s again and refuses %s", short(back.Pair), short(second.Pair))
	return f, nil
}

// rollBackInVain asks for a rollback while a worker cannot follow.
func (p *play) rollBackInVain(ctx context.Context, f *rollbackFacts, to string) error {
	asked := time.Now()
	p.watch.begin("rollback")
	out, err := p.try(ctx, "rollback", "--reason", "the new key is not known to the backup", "--yes")
	if err != nil {
		return err
	}
	f.Refused = out.status != 0
	_, f.SwitchedEarly = p.switched(to, asked)
	if f.NamedWorkers, f.ReasonCodes, err = p.named(ctx, to); err != nil {
		return err
	}
	if !f.SwitchedEarly {
		p.tell("nothing has been switched, and the controllers go on with the current key")
	}
	return p.controllers.Round(ctx)
}
