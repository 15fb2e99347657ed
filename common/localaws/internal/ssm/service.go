// Package ssm is the Run Command of localaws' Systems Manager: shell scripts that are sent to instances, which
// run them for real.
//
// It promises the document AWS-RunShellScript with AWS's limits, statuses and cut-off outputs, MaxConcurrency
// and MaxErrors, and InvalidInstanceId for instances that nobody has put under its management. It knows no
// targets by tag, no other document, and nothing of the rest of Systems Manager.
package ssm

import (
	"context"
	"sync"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Result is how a script ended on an instance.
type Result struct {
	Stdout, Stderr string
	ExitCode       int
}

// Runner runs a script on one instance, as its shell does, until ctx ends.
type Runner func(ctx context.Context, script string) Result

// Deps is what the service needs from the rest of localaws.
type Deps struct {
	Account string
	// Running tells whether an instance is there and running.
	Running func(instanceID string) bool
}

// Service knows which instances are managed, and what was sent to them. It implements wire.Handler and is safe
// for concurrent use.
type Service struct {
	deps Deps
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	managed  map[string]Runner
	commands map[string]*command
	order    []*command // oldest first
}

var _ wire.Handler = (*Service)(nil)

// New makes a service that manages no instance. Close must be called to end what runs.
func New(d Deps) *Service {
	ctx, stop := context.WithCancel(context.Background())
	return &Service{deps: d, ctx: ctx, stop: stop, managed: map[string]Runner{}, commands: map[string]*command{}}
}

// Close ends the scripts that run and waits for them.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.wg.Wait()
}

// Manage puts an instance under management, or another runner in place of the one that it has. A nil runner
// ends its management.
func (s *Service) Manage(instanceID string, run Runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run == nil {
		delete(s.managed, instanceID)
		return
	}
	s.managed[instanceID] = run
}

// Handle answers one call.
func (s *Service) Handle(_ context.Context, r *wire.Request) (any, error) {
	switch r.Action {
	case "SendCommand":
		return decoded(r, s.sendCommand)
	case "GetCommandInvocation":
		return decoded(r, s.getCommandInvocation)
	case "ListCommandInvocations":
		return decoded(r, s.listCommandInvocations)
	case "DescribeInstanceInformation":
		return decoded(r, s.describeInstanceInformation)
	}
	return nil, wire.Unknown(r)
}

func decoded[T any](r *wire.Request, answer func(T) (any, error)) (any, error) {
	var in T
	if err := wire.DecodeStrict(r, &in); err != nil {
		return nil, err
	}
	return answer(in)
}

// The statuses of commands and invocations, which are also their details where those say no more.
const (
	pending    = "Pending"
	inProgress = "InProgress"
	success    = "Success"
	failed     = "Failed"
	timedOut   = "TimedOut"
	cancelled  = "Cancelled"
)

// command is one SendCommand. Service.mu guards what changes.
type command struct {
	id, comment, document   string
	maxConcurrency          string
	maxErrors               string
	parameters              map[string][]string
	instances               []string
	script                  string
	timeout                 time.Duration // of each execution
	requested               time.Time
	seconds                 int // until delivery is given up
	concurrency, maxFailing int
	invocations             map[string]*invocation
	failed, ended           int
}

// invocation is a command on one instance.
type invocation struct {
	instanceID      string
	status, details string
	began, finished time.Time
	result          Result
}
