package demo

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

func abort() Scenario {
	return Scenario{
		Name:    "abort",
		Purpose: "an operator gives a rotation up, and then tries to at the very moment of the next switch",
		workers: 3,
		// Time to look at the key that was given up before its time is over.
		adapt: func(o *Options) { o.RetireAfter = 5 * time.Second },
		act:   playAbort,
	}
}

// abortFacts are what was observed of a rotation that was given up, and of one that could not be any more.
type abortFacts struct {
	Common
	Switched           bool `json:"switched"`           // AWSCURRENT moved to the key that was given up
	GivenUpAccepted    int  `json:"givenUpAccepted"`    // workers that had the key, and still let it log in right afterwards
	PendingLeft        bool `json:"pendingLeft"`        // AWSPENDING was still there afterwards
	AbortReported      bool `json:"abortReported"`      // by the operator's report
	NextRotation       bool `json:"nextRotation"`       // the next rotation was completed
	LateAbortRefused   bool `json:"lateAbortRefused"`   // an abort during the switch was refused
	SwitchedAfterAbort bool `json:"switchedAfterAbort"` // or it was confirmed, and AWSCURRENT moved all the same
}

func (f *abortFacts) findings() []Finding {
	return []Finding{
		equal("switched", "AWSCURRENT moved to the key that was given up", f.Switched, false),
		equal("givenUpAccepted", "workers that had that key and still accept it right afterwards", f.GivenUpAccepted, f.Workers-1),
		equal("pendingLeft", "AWSPENDING left over", f.PendingLeft, false),
		equal("abortReported", "the report tells of it", f.AbortReported, true),
		equal("nextRotation", "the next rotation is completed", f.NextRotation, true),
		equal("lateAbortRefused", "abort in the midst of the switch is refused", f.LateAbortRefused, true),
		equal("switchedAfterAbort", "AWSCURRENT moved although abort was confirmed", f.SwitchedAfterAbort, false),
	}
}

func playAbort(ctx context.Context, p *play) (facts, error) {
	f := &abortFacts{}
	w := p.Workers()[2]
	p.stopAgent(w)
	p.tell("the agent of %s is stopped, so that the next rotation has to wait", w.Name)
	given, err := p.giveUp(ctx, f, p.Workers()[:2])
	if err != nil {
		return nil, err
	}
	if f.GivenUpAccepted < 2 || f.Switched {
		return f, p.controllers.Round(ctx)
	}
	p.startAgent(w)
	p.tell("the agent of %s is back", w.Name)
	current, err := p.CurrentPair(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := p.Settle(ctx, Rotation{Pair: current, Previous: []keypair.Pair{given}}); err != nil {
		return nil, err
	}
	p.tell("its time is over: every worker refuses the key that was given up, and accepts the current one")
	return f, p.abortTooLate(ctx, f)
}

// giveUp starts a rotation that cannot complete, and aborts it once the workers that can have got its key.
func (p *play) giveUp(ctx context.Context, f *abortFacts, awake []*Worker) (given keypair.Pair, err error) {
	version, err := p.StartRotation(ctx)
	if err != nil {
		return given, err
	}
	if given, err = p.pendingPair(ctx, version, awake); err != nil {
		return given, err
	}
	p.givenUp = append(p.givenUp, given)
	if err := p.rotatessh(ctx, "abort", "--reason", "the maintenance is over", "--yes"); err != nil {
		return given, err
	}
	if f.GivenUpAccepted, err = p.stillAccepted(ctx, given, awake); err != nil {
		return given, err
	}
	p.tell("the key that was given up, %s, is still accepted by %s, in case somebody has it", short(given), plural.Of(f.GivenUpAccepted, "worker"))
	call, _, err := p.awaitFailed(ctx, "testSecret", version)
	if err != nil {
		return given, err
	}
	p.tell("testSecret, which was waiting, ended: %s", call.message)
	_, f.Switched = p.switched(version, time.Time{})
	pending, err := p.holder(ctx, labelPending)
	if err != nil {
		return given, err
	}
	f.PendingLeft = pending != ""
	var h history
	err = p.ask(ctx, &h, "report")
	report, found := h.find("abort", version)
	f.AbortReported = found && report.Passed
	return given, err
}

// pendingPair is the pair of a version that is pending, once the workers have acknowledged that they accept it.
func (p *play) pendingPair(ctx context.Context, version string, workers []*Worker) (pair keypair.Pair, err error) {
	ctx, cancel := p.bound(ctx)
	defer cancel()
	err = until(ctx, func() (bool, error) {
		out, err := p.aws.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(secretName), VersionId: &version})
		if err != nil {
			return false, err // it has no value yet
		}
		if pair, err = keypair.Decode([]byte(aws.ToString(out.SecretString))); err != nil {
			return false, err
		}
		return p.acknowledged(ctx, workers, func(a ledger.Ack) bool { return answer(a, "pending", pair.Fingerprint()) == ledger.Yes })
	})
	if err != nil {
		err = fmt.Errorf("waiting for workers to accept the pending key: %w", err)
	}
	return pair, err
}

// acknowledged reports whether the last acknowledgement of every one of the workers is about the keyset in
// force, and so.
func (p *play) acknowledged(ctx context.Context, workers []*Worker, so func(ledger.Ack) bool) (bool, error) {
	doc, err := keystore.NewReader(p.aws.secrets, keysetName).Fetch(ctx)
	if err != nil {
		return false, err
	}
	var arns []string
	for _, w := range workers {
		arns = append(arns, w.ARN)
	}
	acks, err := p.ledger.Acks(ctx, p.resources.secretARN, arns, time.Now())
	for _, arn := range arns {
		ack, found := acks[arn]
		if !found || ack.Generation != doc.Keyset.Generation || !so(ack) {
			return false, err
		}
	}
	return true, err
}

// stillAccepted counts the workers that let a key log in after they have acknowledged the keyset in force.
func (p *play) stillAccepted(ctx context.Context, pair keypair.Pair, workers []*Worker) (int, error) {
	bounded, cancel := p.bound(ctx)
	defer cancel()
	err := until(bounded, func() (bool, error) {
		return p.acknowledged(bounded, workers, func(a ledger.Ack) bool { return a.Outcome == ledger.Applied })
	})
	if err != nil {
		return 0, fmt.Errorf("waiting for workers to follow: %w", err)
	}
	n := 0
	for _, w := range workers {
		if logIn(bounded, w, pair) == nil {
			n++
		}
	}
	return n, nil
}

// abortTooLate aborts while the call that moves AWSCURRENT is on its way.
func (p *play) abortTooLate(ctx context.Context, f *abortFacts) error {
	h := p.holdSwitch()
	defer h.end()
	version, err := p.StartRotation(ctx)
	if err != nil {
		return err
	}
	if err := h.reached(ctx); err != nil {
		return err
	}
	p.tell("the rotator is about to move AWSCURRENT, and at this moment an operator aborts")
	out, err := p.try(ctx, "abort", "--yes")
	h.release() // where abort has not asked for the lease, the switch comes after it
	if err != nil {
		return err
	}
	f.LateAbortRefused = out.status != 0
	r, err := p.AwaitRotation(ctx, version)
	if err != nil {
		return err
	}
	f.NextRotation, f.SwitchedAfterAbort = true, !f.LateAbortRefused
	if f.SwitchedAfterAbort {
		p.tell("abort was confirmed, and AWSCURRENT has moved all the same")
		return nil
	}
	_, err = p.Settle(ctx, r)
	return err
}

// heldSwitch holds the rotator back right before AWSCURRENT moves, until somebody who wants to abort asks for
// the lease, or until release.
type heldSwitch struct {
	fleet   *Fleet
	there   chan struct{} // closed when the rotator has come to it
	release func()
	remove  []func()
}

// holdSwitch holds the next switch.
func (p *play) holdSwitch() *heldSwitch {
	let := make(chan struct{})
	h := &heldSwitch{fleet: p.Fleet, there: make(chan struct{}), release: sync.OnceFunc(func() { close(let) })}
	arrive := sync.OnceFunc(func() { close(h.there) })
	h.remove = append(h.remove,
		p.server.OnCall(localaws.Fault{
			Match:  func(c localaws.Call) bool { return movesCurrent(c, p.resources.secretARN, "") },
			Before: func(localaws.Call) error { arrive(); <-let; return nil },
		}),
		p.server.OnCall(localaws.Fault{
			Service: "dynamodb", Action: "PutItem",
			Match:  func(c localaws.Call) bool { return bytes.Contains(c.Input, []byte(`"aborting"`)) },
			Before: func(localaws.Call) error { h.release(); return nil },
		}))
	return h
}

func (h *heldSwitch) reached(ctx context.Context) error {
	ctx, cancel := h.fleet.bound(ctx)
	defer cancel()
	select {
	case <-h.there:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the switch: %w", context.Cause(ctx))
	}
}

func (h *heldSwitch) end() {
	h.release()
	for _, remove := range h.remove {
		remove()
	}
}
