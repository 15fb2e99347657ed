package lambda

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// function keeps the execution environments of one function.
type function struct {
	svc   *Service
	spec  Spec
	arn   string
	slots chan struct{} // one per invocation in hand: bounds the number of processes

	mu       sync.Mutex
	closed   bool
	idle     []*environment // the most recently used one last
	settling int            // processes that answered and have not asked for more work yet
	waiting  int            // callers that wait for one of those
	changed  chan struct{}  // closed and replaced when a process becomes idle or goes away
	all      map[*environment]struct{}
}

// settleTime is how long a caller waits for a process that has just answered, before it starts another.
const settleTime = time.Second

// Result is the outcome of an invocation that reached the function.
type Result struct {
	Payload       []byte
	FunctionError string // "" or "Unhandled"
}

// invocation is one event on its way through a process.
type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
	done     chan Result // capacity 1
}

var errUndelivered = errors.New("process ended before it took the invocation")

// Invoke runs the function synchronously. The result is an error only if the function does not exist, ctx
// ends or the service closes; the invocation itself goes on when ctx ends, as it does in AWS.
func (s *Service) Invoke(ctx context.Context, id string, payload []byte) (Result, error) {
	f := s.find(id)
	if f == nil {
		return Result{}, errNoFunction(s.ARN(id))
	}
	out := make(chan Result, 1)
	if !s.track(func() { out <- f.invoke(payload) }) {
		return Result{}, errClosed
	}
	select {
	case r := <-out:
		return r, nil
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

func errNoFunction(arn string) error {
	return &wire.Error{Code: "ResourceNotFoundException", Message: "Function not found: " + arn, Status: 404}
}

// invoke waits for a free slot and gives the event to a process.
func (f *function) invoke(payload []byte) Result {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-f.svc.ctx.Done():
		return failure("ServiceException", errClosed.Error())
	}
	inv := &invocation{id: wire.NewUUID(), payload: payload, done: make(chan Result, 1)}
	for {
		env, err := f.acquire()
		if err != nil {
			f.svc.deps.Log.Info("function did not start", zap.String("function", f.spec.Name), zap.Error(err))
			return failure("Runtime.InvalidEntrypoint", "RequestId: "+inv.id+" Error: "+err.Error())
		}
		r, err := env.run(inv)
		if errors.Is(err, errUndelivered) {
			continue // an idle process died unnoticed: no invocation was lost
		}
		return r
	}
}

// acquire returns a process that waits for an invocation, or starts one.
func (f *function) acquire() (*environment, error) {
	giveUp := time.Now().Add(settleTime)
	for {
		env, changed, err := f.takeIdle(time.Now().Before(giveUp))
		if env != nil || err != nil {
			return env, err
		}
		if changed == nil {
			return f.start()
		}
		select {
		case <-changed:
		case <-time.After(time.Until(giveUp)):
		}
		f.mu.Lock()
		f.waiting--
		f.mu.Unlock()
	}
}

// takeIdle returns an idle process, or what to wait for if one is about to be idle, or nothing. Who gets a
// channel is counted as waiting.
func (f *function) takeIdle(mayWait bool) (*environment, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch n := len(f.idle); {
	case f.closed:
		return nil, nil, errClosed
	case n > 0:
		env := f.idle[n-1]
		f.idle = f.idle[:n-1]
		return env, nil, nil
	case mayWait && f.settling > f.waiting:
		f.waiting++
		return nil, f.changed, nil
	}
	return nil, nil, nil
}

// answered is called when a process has answered, before its caller learns of it.
func (f *function) answered(env *environment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, alive := f.all[env]; alive && !env.settling {
		env.settling = true
		f.settling++
	}
}

// ready is called by a process's second and every later request for work.
func (f *function) ready(env *environment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, alive := f.all[env]; !alive {
		return
	}
	f.settled(env)
	f.idle = append(f.idle, env)
	env.idleSince = time.Now()
	f.reap()
}

// settled ends the wait for env, which became idle or went away. The caller holds f.mu.
func (f *function) settled(env *environment) {
	if env.settling {
		env.settling = false
		f.settling--
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// reap ends the processes that nobody needed for a while, but never the last one. The caller holds f.mu.
func (f *function) reap() {
	for len(f.idle) > 1 && time.Since(f.idle[0].idleSince) > idleAfter {
		f.idle[0].kill()
		f.idle = f.idle[1:]
	}
}

func (f *function) gone(env *environment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, env)
	f.settled(env)
	for i, e := range f.idle {
		if e == env {
			f.idle = append(f.idle[:i:i], f.idle[i+1:]...)
			return
		}
	}
}

func (f *function) pids() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	pids := make([]int, 0, len(f.all))
	for env := range f.all {
		pids = append(pids, env.cmd.Process.Pid)
	}
	return pids
}

func (f *function) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for env := range f.all {
		env.kill()
	}
}
