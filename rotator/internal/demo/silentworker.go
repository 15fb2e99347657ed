package demo

import (
	"context"
	"time"
)

func silentWorker() Scenario {
	return Scenario{
		Name:    "silent-worker",
		Purpose: "an agent is down: the switch waits, names the worker, and goes on when an operator waives it",
		workers: 3,
		act:     playSilentWorker,
	}
}

// silentWorkerFacts are what was observed while one agent was down.
type silentWorkerFacts struct {
	Common
	StoppedWorker string `json:"stoppedWorker"` // instance id
	// SwitchedEarly says that AWSCURRENT moved before the worker was waived.
	SwitchedEarly   bool           `json:"switchedEarly"`
	FailedStep      string         `json:"failedStep"`
	NamedWorkers    []string       `json:"namedWorkers"` // by the failed step
	ReasonCodes     map[string]int `json:"reasonCodes"`
	SecondsToFail   float64        `json:"secondsToFail"`
	DeadlineSeconds float64        `json:"deadlineSeconds"` // of the function
	WaivedWorkers   []string       `json:"waivedWorkers"`   // by the report of the switch
	ReadyInTheEnd   int            `json:"readyInTheEnd"`   // workers, by the operator's status
	ReportedRefusal int            `json:"reportedRefusal"` // workers that refuse the old key, by the operator's report
}

func (f *silentWorkerFacts) findings() []Finding {
	return []Finding{
		equal("switchedEarly", "AWSCURRENT moved before the worker was waived", f.SwitchedEarly, false),
		equal("failedStep", "step that failed", f.FailedStep, "testSecret"),
		equal("namedWorkers", "workers that it named", f.NamedWorkers, []string{f.StoppedWorker}),
		equal("reasonCodes", "and why", f.ReasonCodes, map[string]int{"behind": 1}),
		below("secondsToFail", "seconds after which it failed", f.SecondsToFail, f.DeadlineSeconds),
		equal("waivedWorkers", "workers without which the switch was made, by its report", f.WaivedWorkers, []string{f.StoppedWorker}),
		equal("readyInTheEnd", "workers ready when the agent was back, by the status", f.ReadyInTheEnd, f.Workers),
		equal("reportedRefusal", "workers that refuse the old key, by the report", f.ReportedRefusal, f.Workers),
	}
}

func playSilentWorker(ctx context.Context, p *play) (facts, error) {
	w := p.Workers()[2]
	f := &silentWorkerFacts{StoppedWorker: w.ID, NamedWorkers: []string{}, ReasonCodes: map[string]int{}, WaivedWorkers: []string{}, DeadlineSeconds: p.options.functionTimeout.Seconds()}
	p.stopAgent(w)
	p.tell("the agent of %s (%s) is stopped", w.Name, w.ID)
	version, err := p.StartRotation(ctx)
	if err != nil {
		return nil, err
	}
	call, failed, err := p.awaitFailed(ctx, "testSecret", version)
	if err != nil {
		return nil, err
	}
	if !failed {
		p.tell("AWSCURRENT has moved although %s has not followed", w.Name)
		f.SwitchedEarly = true
		return f, p.controllers.Round(ctx)
	}
	f.FailedStep, f.SecondsToFail = "testSecret", seconds(call.took)
	p.tell("testSecret failed after %.1f s of %g: %s", f.SecondsToFail, f.DeadlineSeconds, call.message)
	p.tell("nothing has been switched, and the controllers go on with the current key")
	if f.NamedWorkers, f.ReasonCodes, err = p.named(ctx, version); err != nil {
		return nil, err
	}
	if err := p.controllers.Round(ctx); err != nil {
		return nil, err
	}
	r, err := p.waiveAndSwitch(ctx, f, w, version)
	if err != nil {
		return nil, err
	}
	return f, p.comeBack(ctx, f, w, r)
}

// waiveAndSwitch gives the worker up for a while. From then on the controllers are not surprised that they
// cannot log in to it.
func (p *play) waiveAndSwitch(ctx context.Context, f *silentWorkerFacts, w *Worker, version string) (Rotation, error) {
	if err := p.controllers.Leave(ctx, w); err != nil {
		return Rotation{}, err
	}
	waived := time.Now()
	if err := p.rotatessh(ctx, "waive", w.ID, "--for", "1h", "--reason", "its agent is down", "--yes"); err != nil {
		return Rotation{}, err
	}
	r, err := p.AwaitRotation(ctx, version)
	if err != nil {
		return Rotation{}, err
	}
	at, _ := p.switched(version, time.Time{})
	f.SwitchedEarly = at.Before(waived)
	p.tell("Secrets Manager has tried again, and AWSCURRENT has moved without %s", w.Name)
	return r, nil
}

// comeBack starts the agent again and follows the worker until the operator's commands show it.
func (p *play) comeBack(ctx context.Context, f *silentWorkerFacts, w *Worker, r Rotation) error {
	p.startAgent(w)
	p.tell("the agent of %s is back", w.Name)
	began := time.Now()
	if _, err := p.Settle(ctx, r); err != nil {
		return err
	}
	p.controllers.Join(w)
	p.tell("after %.1f s every worker, %s too, accepts the new key and refuses the old one", time.Since(began).Seconds(), w.Name)
	steady, err := p.awaitSteady(ctx, r.VersionID)
	if err != nil {
		return err
	}
	f.ReportedRefusal = steady.Ready
	var h history
	if err := p.ask(ctx, &h, "report"); err != nil {
		return err
	}
	switched, _ := h.find("finishSecret", r.VersionID)
	f.WaivedWorkers = instances(switched.Waived)
	if err := p.rotatessh(ctx, "report"); err != nil {
		return err
	}
	var status struct{ Summary struct{ Ready int } }
	if err := p.ask(ctx, &status, "status"); err != nil {
		return err
	}
	f.ReadyInTheEnd = status.Summary.Ready
	return nil
}
