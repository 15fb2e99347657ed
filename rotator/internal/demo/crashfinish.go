package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/localaws"
)

func crashFinish() Scenario {
	return Scenario{
		Name:    "crash-finish",
		Purpose: "the rotator dies right after the switch: an event, or else the schedule, has the old key retired",
		workers: 3,
		// AWS does not say when it tries again. Here it does not in time, so that it is not what mends.
		adapt: func(o *Options) { o.retryRotation = time.Hour },
		act:   playCrashFinish,
	}
}

// What may repair a rotation that the rotator has died in.
const (
	byLabelEvent = "label event"
	bySchedule   = "schedule"
)

// crashFinishFacts are what was observed when the rotator died between two calls, twice.
type crashFinishFacts struct {
	Common
	Crashes     int      `json:"crashes"`     // right after AWSCURRENT had moved
	LeftUndone  int      `json:"leftUndone"`  // times that the keyset did not say then that the old key retires
	RepairedBy  []string `json:"repairedBy"`  // what it was that published so
	PendingLeft bool     `json:"pendingLeft"` // AWSPENDING was still there in the end
}

func (f *crashFinishFacts) findings() []Finding {
	return []Finding{
		equal("crashes", "times that the rotator was killed right after the switch", f.Crashes, 2),
		equal("leftUndone", "times that the old key was not being retired then", f.LeftUndone, 2),
		equal("repairedBy", "what had it retired", f.RepairedBy, []string{byLabelEvent, bySchedule}),
		equal("pendingLeft", "AWSPENDING left over", f.PendingLeft, false),
	}
}

func playCrashFinish(ctx context.Context, p *play) (facts, error) {
	f := &crashFinishFacts{RepairedBy: []string{}}
	for _, repair := range []string{byLabelEvent, bySchedule} {
		repaired, err := p.crashAndRepair(ctx, f, repair)
		if err != nil {
			return nil, err
		}
		if !repaired {
			p.tell("nobody has completed the rotation: the old key is accepted for ever")
			break
		}
	}
	pending, err := p.holder(ctx, labelPending)
	if err != nil {
		return nil, err
	}
	f.PendingLeft = pending != ""
	return f, p.controllers.Round(ctx)
}

// crashAndRepair runs one rotation in which the rotator dies, and waits for the repair.
func (p *play) crashAndRepair(ctx context.Context, f *crashFinishFacts, repair string) (repaired bool, err error) {
	c := p.armCrash(repair == bySchedule)
	defer c.disarm()
	version, err := p.StartRotation(ctx)
	if err != nil {
		return false, err
	}
	if err := c.await(ctx); err != nil {
		return false, err
	}
	f.Crashes++
	undone, err := p.oldKeyInForce(ctx, version)
	if err != nil {
		return false, err
	}
	p.tell("the rotator is killed right after AWSCURRENT has moved; the keyset still says that the old key is in use: %s", words(undone))
	if undone {
		f.LeftUndone++
	}
	if repair == byLabelEvent {
		p.tell("now Secrets Manager's event that AWSCURRENT has moved is delivered")
		c.deliver()
	} else {
		p.tell("this time that event is lost, and the rotator's schedule comes round")
		if err := p.scheduled(ctx); err != nil {
			return false, err
		}
	}
	if repaired, err = p.awaitRepair(ctx, version); err != nil || !repaired {
		return false, err
	}
	f.RepairedBy = append(f.RepairedBy, p.repairer(version))
	r, err := p.AwaitRotation(ctx, version)
	if err != nil {
		return false, err
	}
	if _, err = p.Settle(ctx, r); err == nil {
		p.tell("every worker refuses the old key")
	}
	return true, err
}

// crash kills the rotator once, and holds back what would repair it at once.
type crash struct {
	fleet  *Fleet
	killed chan []int // its processes
	held   chan struct{}
	once   sync.Once
	hooks  []func()

	mu   sync.Mutex
	pids []int // of the rotator, when it was about to move AWSCURRENT
}

// armCrash has the rotator die as soon as it has moved AWSCURRENT, before it knows that it has. The event about
// that is lost, or held back until deliver.
func (p *play) armCrash(loseEvent bool) *crash {
	c := &crash{fleet: p.Fleet, killed: make(chan []int, 1), held: make(chan struct{})}
	moves := func(call localaws.Call) bool {
		return call.Principal == functionName && movesCurrent(call, p.resources.secretARN, "")
	}
	c.hooks = append(c.hooks,
		p.server.OnCall(localaws.Fault{Match: moves, Before: c.note, After: c.kill}),
		p.server.OnCall(localaws.Fault{Service: "lambda", Action: "Invoke", Match: isLabelEvent, Before: func(localaws.Call) error {
			if loseEvent {
				return &localaws.APIError{Code: "ServiceException", Message: "the event is lost", Status: 500}
			}
			<-c.held
			return nil
		}}))
	return c
}

func isLabelEvent(c localaws.Call) bool {
	var event struct {
		DetailType string `json:"detail-type"`
	}
	return json.Unmarshal(c.Input, &event) == nil && event.DetailType == "Secret Label Updated"
}

// note remembers who moves the label: the event about it starts another process.
func (c *crash) note(localaws.Call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pids == nil {
		c.pids = c.fleet.server.FunctionPIDs(functionName)
	}
	return nil
}

func (c *crash) kill(localaws.Call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pids) == 0 {
		return nil
	}
	for _, pid := range c.pids {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	c.killed <- c.pids
	c.pids = []int{}
	return localaws.ErrDrop
}

// await waits until the rotator is dead and gone.
func (c *crash) await(ctx context.Context) error {
	ctx, cancel := c.fleet.bound(ctx)
	defer cancel()
	var dead []int
	select {
	case dead = <-c.killed:
	case <-ctx.Done():
		return fmt.Errorf("waiting for AWSCURRENT to move: %w", context.Cause(ctx))
	}
	return until(ctx, func() (bool, error) {
		left := c.fleet.server.FunctionPIDs(functionName)
		return !slices.ContainsFunc(dead, func(pid int) bool { return slices.Contains(left, pid) }), nil
	})
}

// deliver lets the event through that was held back.
func (c *crash) deliver() { c.once.Do(func() { close(c.held) }) }

func (c *crash) disarm() {
	c.deliver()
	for _, remove := range c.hooks {
		remove()
	}
}

// oldKeyInForce reports whether the keyset takes a version for pending that is current already.
func (p *play) oldKeyInForce(ctx context.Context, version string) (bool, error) {
	doc, err := keystore.NewReader(p.aws.secrets, keysetName).Fetch(ctx)
	if err != nil {
		return false, err
	}
	current, err := p.holder(ctx, labelCurrent)
	if err != nil {
		return false, err
	}
	pending, found := doc.Keyset.Find(keyset.Pending)
	return found && pending.VersionID == version && current == version, nil
}

// repairTime is far longer than a repair takes.
const repairTime = 10 * time.Second

// awaitRepair waits until the keyset says that the version is current.
func (p *play) awaitRepair(ctx context.Context, version string) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, repairTime)
	defer cancel()
	err := until(limited, func() (bool, error) {
		doc, err := keystore.NewReader(p.aws.secrets, keysetName).Fetch(limited)
		if err != nil {
			return false, err
		}
		current, found := doc.Keyset.Find(keyset.Current)
		return found && current.VersionID == version && p.repairer(version) != "", nil
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return false, nil
	}
	return err == nil, err
}

// repairer is what the rotator was invoked with when it published since the version became current: "" while
// that invocation has not been answered.
func (p *play) repairer(version string) string {
	since, _ := p.switched(version, time.Time{})
	for _, c := range p.server.Calls() {
		var answer struct{ Published bool }
		if c.Service != "lambda" || !c.End.After(since) || json.Unmarshal(c.Output, &answer) != nil || !answer.Published {
			continue
		}
		if isLabelEvent(c) {
			return byLabelEvent
		}
		return bySchedule
	}
	return ""
}
