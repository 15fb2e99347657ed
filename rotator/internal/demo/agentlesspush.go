package demo

import (
	"context"
	"time"

	"github.com/rotatessh/rotatessh/common/ledger"
)

func agentlessPush() Scenario {
	return Scenario{
		Name:    "agentless-push",
		Purpose: "a worker without an agent becomes ready through Systems Manager, and later refuses the old key",
		workers: 3,
		adapt: func(o *Options) {
			o.agentless, o.functionTimeout, o.scheduleEvery = 1, 20*time.Second, time.Second
			o.functionEnv = []string{"ROTATESSH_SILENT=push", "ROTATESSH_PUSH_AFTER=1s"}
		},
		act: playAgentlessPush,
	}
}

// agentlessPushFacts are what was observed of a worker that has never had an agent.
type agentlessPushFacts struct {
	Common
	AgentlessWorker  string   `json:"agentlessWorker"`  // instance id
	Acknowledgements int      `json:"acknowledgements"` // that the worker itself wrote
	CommandsSent     int      `json:"commandsSent"`     // through Systems Manager
	PushedWorkers    []string `json:"pushedWorkers"`    // that counted as ready, by the report of the gate
	RemovedFrom      []string `json:"removedFrom"`      // workers from which the old key was removed by a push, by the report
	ReportedRefusal  int      `json:"reportedRefusal"`  // workers that refuse the old key, by the report
}

func (f *agentlessPushFacts) findings() []Finding {
	return []Finding{
		equal("acknowledgements", "acknowledgements that the worker without an agent wrote", f.Acknowledgements, 0),
		atLeast("commandsSent", "commands sent through Systems Manager", f.CommandsSent, 2),
		equal("pushedWorkers", "workers that were ready by a push, by the report", f.PushedWorkers, []string{f.AgentlessWorker}),
		equal("removedFrom", "workers from which a push removed the old key, by the report", f.RemovedFrom, []string{f.AgentlessWorker}),
		equal("reportedRefusal", "workers that refuse the old key, by the report", f.ReportedRefusal, f.Workers),
	}
}

// removalTime is much longer than it takes from the switch to the removal of the old key.
const removalTime = 10 * time.Second

func playAgentlessPush(ctx context.Context, p *play) (facts, error) {
	w := p.Workers()[2]
	f := &agentlessPushFacts{AgentlessWorker: w.ID, PushedWorkers: []string{}, RemovedFrom: []string{}}
	p.tell("%s (%s) has no agent; Systems Manager has written the key that the controllers use", w.Name, w.ID)
	p.tell("the schedule of the rotator comes round every second here, instead of every five minutes")
	before := p.commandsSent()
	r, err := p.Rotate(ctx)
	if err != nil {
		return nil, err
	}
	p.tell("AWSCURRENT has moved; %d command was sent to %s before", p.commandsSent()-before, w.Name)
	steady, err := p.awaitRemoval(ctx, r.VersionID)
	if err != nil {
		return nil, err
	}
	var h history
	if err := p.ask(ctx, &h, "report"); err != nil {
		return nil, err
	}
	gate, _ := h.find("testSecret", r.VersionID)
	f.PushedWorkers, f.RemovedFrom, f.ReportedRefusal = withCode(gate.Pushed, "pushed"), withCode(steady.Pushed, "pushed"), steady.Ready
	p.tell("the report of the gate says: %s", told(gate.Pushed))
	p.tell("and that of the end: %s; %s", steady.Message, told(steady.Pushed))
	f.Acknowledgements, f.CommandsSent = len(p.acksOf(w, p.began)), p.commandsSent()-before
	return f, p.controllers.Round(ctx)
}

// awaitRemoval waits, though not for ever, until the rotator has recorded that every worker refuses the old key.
func (p *play) awaitRemoval(ctx context.Context, version string) (steady ledger.Report, err error) {
	limited, cancel := context.WithTimeout(ctx, removalTime)
	defer cancel()
	err = until(limited, func() (bool, error) {
		var h history
		err := p.ask(limited, &h, "report")
		if report, found := h.find("steady", version); found {
			steady = report
		}
		return steady.Passed, err
	})
	if limited.Err() != nil && ctx.Err() == nil {
		return steady, nil
	}
	return steady, err
}

// withCode are the ids of those workers that a report lists with a code.
func withCode(of []ledger.Laggard, code string) []string {
	var chosen []ledger.Laggard
	for _, l := range of {
		if l.Code == code {
			chosen = append(chosen, l)
		}
	}
	return instances(chosen)
}

func told(of []ledger.Laggard) string {
	var all []string
	for _, l := range of {
		all = append(all, ledger.InstanceID(l.Worker)+" "+l.Message)
	}
	return words(all)
}

// commandsSent counts the commands that the rotator has sent through Systems Manager.
func (p *play) commandsSent() int {
	n := 0
	for _, c := range p.server.Calls() {
		if c.Service == "ssm" && c.Action == "SendCommand" && c.Principal == functionName && c.ErrorCode == "" {
			n++
		}
	}
	return n
}

// tick sends the event of the schedule again and again, until ctx ends.
func (p *play) tick(ctx context.Context, every time.Duration) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			_ = p.scheduled(ctx) // the next one comes soon
		}
	}
}
