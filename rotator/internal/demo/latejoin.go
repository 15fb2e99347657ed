package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

func lateJoin() Scenario {
	return Scenario{
		Name:    "late-join",
		Purpose: "one worker is launched and one is terminated in mid-rotation; one is back after three rotations",
		workers: 6,
		// The rotator reads the inventory again after 15 s of waiting.
		adapt: func(o *Options) { o.functionTimeout = 28 * time.Second },
		act:   playLateJoin,
	}
}

// lateJoinFacts are what was observed while workers came and went.
type lateJoinFacts struct {
	Common
	LaunchedWorker   string `json:"launchedWorker"` // instance ids
	TerminatedWorker string `json:"terminatedWorker"`
	ReturnedWorker   string `json:"returnedWorker"`

	FailedSteps     int            `json:"failedSteps"` // of the rotation in which workers came and went
	NamedWorkers    []string       `json:"namedWorkers"`
	ReasonCodes     map[string]int `json:"reasonCodes"`
	CountedAtSwitch int            `json:"countedAtSwitch"` // workers, by the report of that switch
	QueueRemoved    bool           `json:"queueRemoved"`    // of the terminated worker, and its subscription
	MissedRotations int            `json:"missedRotations"` // by the worker that returned
	// Passes are those that it took until the worker acknowledged that it accepts the key in use and refuses
	// the one before.
	LaunchedPasses int `json:"launchedPasses"`
	ReturnedPasses int `json:"returnedPasses"`
}

func (f *lateJoinFacts) findings() []Finding {
	return []Finding{
		equal("failedSteps", "steps that failed while workers came and went", f.FailedSteps, 0),
		equal("namedWorkers", "workers that they named", f.NamedWorkers, []string{}),
		equal("reasonCodes", "and why", f.ReasonCodes, map[string]int{}),
		equal("countedAtSwitch", "workers that counted at the switch, by its report", f.CountedAtSwitch, f.Workers-2),
		equal("queueRemoved", "queue of the terminated worker removed, with its subscription", f.QueueRemoved, true),
		equal("missedRotations", "rotations that the returned worker has missed", f.MissedRotations, 3),
		equal("launchedPasses", "passes that the launched worker took to converge", f.LaunchedPasses, 1),
		equal("returnedPasses", "passes that the returned worker took to converge", f.ReturnedPasses, 1),
	}
}

func playLateJoin(ctx context.Context, p *play) (facts, error) {
	workers := p.Workers()
	dying, sleeping := workers[4], workers[5]
	f := &lateJoinFacts{TerminatedWorker: dying.ID, ReturnedWorker: sleeping.ID, NamedWorkers: []string{}, ReasonCodes: map[string]int{}}
	off := time.Now()
	if err := p.switchOff(ctx, sleeping, "stopped"); err != nil {
		return nil, err
	}
	p.tell("%s (%s) is stopped", sleeping.Name, sleeping.ID)
	for range 2 {
		if _, err := p.Rotate(ctx); err != nil {
			return nil, err
		}
	}
	r, launched, err := p.churn(ctx, f, dying)
	if err != nil || launched == nil {
		return f, err
	}
	p.tell("the key is switched; now %s has booted, and its agent starts", launched.Name)
	if f.LaunchedPasses, err = p.converge(ctx, launched, r, p.startWorker); err != nil {
		return nil, err
	}
	if _, err := p.Settle(ctx, r); err != nil {
		return nil, err
	}
	f.MissedRotations = p.switches(off)
	p.tell("%s is started again after %s that it has missed", sleeping.Name, plural.Of(f.MissedRotations, "rotation"))
	if f.ReturnedPasses, err = p.converge(ctx, sleeping, r, p.powerOn); err != nil {
		return nil, err
	}
	if _, err := p.Settle(ctx, r); err != nil {
		return nil, err
	}
	f.QueueRemoved, err = p.queueGone(ctx, dying)
	return f, errors.Join(err, p.controllers.Round(ctx))
}

// switchOff ends a worker after the controllers have been told that it will be away.
func (p *play) switchOff(ctx context.Context, w *Worker, state string) error {
	if err := p.controllers.Leave(ctx, w); err != nil {
		return err
	}
	return p.powerOff(w, state)
}

// churn runs a rotation that has to wait for one worker, which is terminated meanwhile. Another one is launched
// then, which boots only after the switch. It gives no worker if the rotation did not go through.
func (p *play) churn(ctx context.Context, f *lateJoinFacts, dying *Worker) (r Rotation, launched *Worker, err error) {
	p.stopAgent(dying)
	p.tell("%s (%s) hangs: its agent does nothing any more", dying.Name, dying.ID)
	version, err := p.StartRotation(ctx)
	if err != nil {
		return r, nil, err
	}
	if err := p.publishedSince(ctx, version, laterLaunch); err != nil {
		return r, nil, err
	}
	if launched, err = p.launchInstance(7); err != nil {
		return r, nil, err
	}
	f.LaunchedWorker = launched.ID
	p.tell("%s (%s) is launched, and takes its time to boot", launched.Name, launched.ID)
	if err := p.switchOff(ctx, dying, "terminated"); err != nil {
		return r, nil, err
	}
	p.tell("%s is terminated; the rotator will see that within 15 s", dying.Name)
	call, failed, err := p.awaitFailed(ctx, "testSecret", version)
	if err != nil {
		return r, nil, err
	}
	if failed {
		p.tell("testSecret failed: %s", call.message)
		f.FailedSteps++
		f.NamedWorkers, f.ReasonCodes, err = p.named(ctx, version)
		return r, nil, err
	}
	if r, err = p.AwaitRotation(ctx, version); err != nil {
		return r, nil, err
	}
	return r, launched, p.await(ctx, "the report of the switch", func() (bool, error) {
		var h history
		err := p.ask(ctx, &h, "report")
		report, found := h.find("finishSecret", version)
		f.CountedAtSwitch = report.Expected
		return found, err
	})
}

// laterLaunch is how long after a publication a launch comes for certain later, by AWS's dates: those have whole
// seconds, and the rotator's view of AWS's time lags by as much.
const laterLaunch = 4 * time.Second

// publishedSince waits until a version's key has been published for some time.
func (p *play) publishedSince(ctx context.Context, version string, ago time.Duration) error {
	return p.await(ctx, "the publication of the pending key", func() (bool, error) {
		calls := p.steps("setSecret", version)
		return len(calls) > 0 && time.Since(calls[0].at) >= ago, nil
	})
}

// switches counts the moves of AWSCURRENT since then.
func (p *play) switches(since time.Time) int {
	n := 0
	for _, c := range p.server.Calls() {
		if c.End.After(since) && c.ErrorCode == "" && movesCurrent(c, p.resources.secretARN, "") {
			n++
		}
	}
	return n
}

// converge starts a worker and waits until it has acknowledged that it accepts r's key. It gives the number of
// the acknowledgement that said so: an agent writes one for every pass with another result.
func (p *play) converge(ctx context.Context, w *Worker, r Rotation, start func(context.Context, *Worker) error) (passes int, err error) {
	began := time.Now()
	if err := start(ctx, w); err != nil {
		return 0, err
	}
	err = p.await(ctx, w.Name+" to converge", func() (done bool, err error) {
		for n, ack := range p.acksOf(w, began) {
			if ack.Outcome == ledger.Applied && answer(ack, keyset.Current, r.Pair.Fingerprint()) == ledger.Yes {
				passes = n + 1
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return 0, err
	}
	p.controllers.Join(w)
	p.tell("%s accepts the key in use after %d pass, %.1f s after its start", w.Name, passes, time.Since(began).Seconds())
	return passes, nil
}

// acksOf are a worker's acknowledgements since then, oldest first.
func (p *play) acksOf(w *Worker, since time.Time) []ledger.Ack {
	var acks []ledger.Ack
	for _, c := range p.server.Calls() {
		var in struct{ Item map[string]json.RawMessage }
		var ack ledger.Ack
		if c.Service != "dynamodb" || c.Action != "PutItem" || c.Principal != w.ARN || c.ErrorCode != "" || c.End.Before(since) {
			continue
		}
		if json.Unmarshal(c.Input, &in) == nil && plainItem(in.Item, &ack) == nil && ack.Validate() == nil {
			acks = append(acks, ack)
		}
	}
	return acks
}

// queueGone waits until a worker's queue is removed, and tells whether its subscription is too.
func (p *play) queueGone(ctx context.Context, w *Worker) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, repairTime)
	defer cancel()
	name := "rotatessh-" + w.ID
	err := until(limited, func() (bool, error) {
		_, err := p.aws.sqs.GetQueueUrl(limited, &sqs.GetQueueUrlInput{QueueName: &name})
		if _, gone := errors.AsType[*sqstypes.QueueDoesNotExist](err); gone {
			return true, nil
		}
		return false, err
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for the queue of %s: %w", w.Name, err)
	}
	queues, err := p.subscribed(ctx)
	return !slices.ContainsFunc(queues, func(arn string) bool { return strings.HasSuffix(arn, ":"+name) }), err
}
