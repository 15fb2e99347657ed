package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws"
)

// seeded gives random numbers that can be had again by ROTATESSH_TEST_SEED.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if set := os.Getenv("ROTATESSH_TEST_SEED"); set != "" {
		var err error
		if seed, err = strconv.ParseUint(set, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed: ROTATESSH_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// startFleet starts a fleet that has its first key pair.
func startFleet(t *testing.T, o Options) *Fleet {
	t.Helper()
	f, err := Start(t.Context(), o, nil)
	if err != nil {
		fatal(t, err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("closing the fleet: %v", err)
		}
	})
	first, err := f.Rotate(t.Context())
	if err == nil {
		_, err = f.Settle(t.Context(), first)
	}
	if err != nil {
		fatal(t, err)
	}
	return f
}

// mustBeUnharmed ends the observation and checks what a fleet promises in all adversities.
func mustBeUnharmed(t *testing.T, f *Fleet, o *Observation, last Rotation) {
	t.Helper()
	if err := o.Round(t.Context()); err != nil {
		fatal(t, err)
	}
	logins := o.Stop()
	t.Logf("%d log-ins", logins.Tried)
	if logins.Failed > 0 || logins.Tried == 0 {
		t.Errorf("%d of %d log-ins failed: %v", logins.Failed, logins.Tried, logins.Failures)
	}
	p := f.Prove(t.Context(), last)
	n := len(f.Workers())
	if p.OldKeyRefused != n || p.NewKeyAccepted != n || p.ForeignLinesKept != n {
		t.Errorf("of %d workers %d refuse the old keys, %d accept the new one, %d kept foreign lines: %v",
			n, p.OldKeyRefused, p.NewKeyAccepted, p.ForeignLinesKept, p.Doubts)
	}
	if t.Failed() {
		show(t, f.tails())
	}
}

// killer kills the rotator at one moment of a rotation.
type killer struct {
	server *localaws.Server

	mu    sync.Mutex
	step  string         // the one that runs
	calls map[string]int // of the rotator, by step
	plan  moment
	fired bool
}

// moment is a point in a step: before or after the rotator's nth call in it took effect. The 0th is the
// invocation itself.
type moment struct {
	step  string
	call  int
	after bool
}

func (m moment) String() string {
	when := map[bool]string{false: "before", true: "after"}[m.after]
	return fmt.Sprintf("%s call %d of %s", when, m.call, m.step)
}

func watchRotator(f *Fleet) *killer {
	k := &killer{server: f.Server(), calls: map[string]int{}}
	k.server.OnCall(localaws.Fault{Service: "lambda", Action: "Invoke", Before: k.begin, After: k.end})
	k.server.OnCall(localaws.Fault{
		Match:  func(c localaws.Call) bool { return c.Principal == functionName },
		Before: k.before, After: k.after,
	})
	return k
}

func stepOf(c localaws.Call) string {
	var event struct{ Step string }
	_ = json.Unmarshal(c.Input, &event)
	return event.Step
}

func (k *killer) begin(c localaws.Call) error {
	step := stepOf(c)
	if step == "" {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.step, k.calls[step] = step, 0
	return k.strikeLocked(moment{step: step})
}

func (k *killer) end(c localaws.Call) error {
	step := stepOf(c)
	if step == "" {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.step = "" // what follows is not the step's
	return k.strikeLocked(moment{step: step, after: true})
}

func (k *killer) before(localaws.Call) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls[k.step]++
	return k.strikeLocked(moment{step: k.step, call: k.calls[k.step]})
}

func (k *killer) after(localaws.Call) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.strikeLocked(moment{step: k.step, call: k.calls[k.step], after: true})
}

func (k *killer) strikeLocked(now moment) error {
	if k.fired || now != k.plan {
		return nil
	}
	k.fired = true
	for _, pid := range k.server.FunctionPIDs(functionName) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if now.call == 0 && !now.after {
		return nil // the invocation finds the process dead and starts another
	}
	return localaws.ErrDrop
}

func (k *killer) arm(m moment) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.plan, k.fired = m, false
}

// hasFired waits for the end of the step that runs: AWSCURRENT moves in the midst of the last one.
func (k *killer) hasFired() bool {
	for {
		k.mu.Lock()
		fired, running := k.fired, k.step != ""
		k.mu.Unlock()
		if fired || !running {
			return fired
		}
		time.Sleep(time.Millisecond)
	}
}

// counted is how many calls the rotator made in a step of the last rotation.
func (k *killer) counted(step string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls[step]
}

func TestRotatorKilledInAnyStepLocksNobodyOut(t *testing.T) {
	random := seeded(t)
	o := fleetOptions(t)
	o.RetireAfter = time.Second
	f := startFleet(t, o)
	k := watchRotator(f)
	observation := f.Observe(t.Context())
	last := rotate(t, f) // to count calls
	for _, step := range []string{"createSecret", "setSecret", "testSecret", "finishSecret"} {
		n := k.counted(step)
		if n < 2 {
			t.Fatalf("%s made %d calls", step, n)
		}
		for _, m := range []moment{
			{step: step},          // before the step
			{step: step, call: 1}, // when it begins
			{step: step, call: 1 + random.IntN(n-1), after: true}, // in its midst
			{step: step, call: 2 + random.IntN(n-1)},
			{step: step, after: true}, // when it has done everything and could not say so
		} {
			last = rotateAndKill(t, f, k, m)
		}
	}
	settle(t, f, last)
	mustBeUnharmed(t, f, observation, last)
}

// rotateAndKill runs a rotation in which the rotator is killed at m, or earlier where the step turns out to make
// fewer calls than the last time: the run for the label's event makes some of its own beside finishSecret.
func rotateAndKill(t *testing.T, f *Fleet, k *killer, m moment) Rotation {
	t.Helper()
	for {
		k.arm(m)
		t.Logf("killing the rotator %s", m)
		r := rotate(t, f)
		if k.hasFired() {
			return r
		}
		if m.call < 2 {
			t.Fatalf("the rotator was not killed %s", m)
		}
		m.call /= 2
	}
}

func TestAgentsKilledAtRandomMomentsLockNobodyOut(t *testing.T) {
	const kills = 24
	random := seeded(t)
	o := fleetOptions(t)
	o.RetireAfter = time.Second
	f := startFleet(t, o)
	observation := f.Observe(t.Context())
	ctx, stop := context.WithCancel(t.Context())
	killed := make(chan int)
	go func() {
		n := 0
		for ; n < kills && ctx.Err() == nil; n++ {
			time.Sleep(time.Duration(random.IntN(600)) * time.Millisecond)
			workers := f.Workers()
			workers[random.IntN(len(workers))].KillAgent()
		}
		killed <- n
	}()
	defer stop()
	var last Rotation
	for done := false; !done; {
		last = rotate(t, f)
		select {
		case n := <-killed:
			t.Logf("%d agents killed", n)
			done = true
		default:
		}
	}
	settle(t, f, last)
	mustBeUnharmed(t, f, observation, last)
}

func rotate(t *testing.T, f *Fleet) Rotation {
	t.Helper()
	r, err := f.Rotate(t.Context())
	if err != nil {
		fatal(t, err)
	}
	return r
}

func settle(t *testing.T, f *Fleet, r Rotation) {
	t.Helper()
	if _, err := f.Settle(t.Context(), r); err != nil {
		fatal(t, err)
	}
}
