// Package eventbridge is the EventBridge of localaws: one bus, rules with patterns or rates, and targets.
//
// It promises that an event reaches every enabled rule that it matches, in the order in which events were put, after the call that put
// it has returned. Targets are SNS topics and SQS queues, whose policies decide, and Lambda functions. There is the default bus only; an
// event for another is lost, as on AWS. Input transformers, dead-letter queues and cron schedules are refused.
package eventbridge

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/localaws/internal/sns"
	"github.com/rotatessh/rotatessh/common/localaws/internal/sqs"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Deps is what the service needs from others.
type Deps struct {
	Region, Account string
	Log             *zap.Logger
	// Record is told every event that was put, whether a rule matches it or not; nil for nobody.
	Record func(event json.RawMessage)
	// ToQueue and ToTopic deliver for a rule; an error means that the event is lost for that target.
	ToQueue func(sqs.Delivery) error
	ToTopic func(service, sourceARN string, m sns.Message) error
	// ToFunction starts an asynchronous invocation, which sees to its own repetitions.
	ToFunction func(functionARN string, event []byte)
}

// Service is the default bus. It implements wire.Handler and is safe for concurrent use.
type Service struct {
	deps    Deps
	log     *zap.Logger
	mu      sync.Mutex
	rules   map[string]*rule // by name
	pending []job
	idle    sync.Cond // signalled when pending has been worked off
	working bool
	closed  bool
	dropped int
}

var _ wire.Handler = (*Service)(nil)

// New makes a bus without rules. Close must be called in the end.
func New(d Deps) *Service {
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	if d.Record == nil {
		d.Record = func(json.RawMessage) {}
	}
	s := &Service{deps: d, log: d.Log, rules: map[string]*rule{}}
	s.idle.L = &s.mu
	return s
}

// Close stops schedules, drops the events that are still to be delivered and waits for the one in delivery. Events put later are lost.
func (s *Service) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.pending = nil
	for _, r := range s.rules {
		r.stop()
	}
	for s.working {
		s.idle.Wait()
	}
}

// Handle answers one call. It never waits for deliveries.
func (s *Service) Handle(_ context.Context, r *wire.Request) (any, error) {
	switch r.Action {
	case "PutEvents":
		return call(r, s.putEvents)
	case "PutRule":
		return call(r, s.putRule)
	case "DescribeRule":
		return call(r, s.describeRule)
	case "ListRules":
		return call(r, s.listRules)
	case "EnableRule":
		return call(r, func(_ *wire.Request, in *ruleInput) (any, error) { return s.setState(in, enabled) })
	case "DisableRule":
		return call(r, func(_ *wire.Request, in *ruleInput) (any, error) { return s.setState(in, disabled) })
	case "DeleteRule":
		return call(r, s.deleteRule)
	case "PutTargets":
		return call(r, s.putTargets)
	case "RemoveTargets":
		return call(r, s.removeTargets)
	case "ListTargetsByRule":
		return call(r, s.listTargetsByRule)
	case "TestEventPattern":
		return call(r, s.testEventPattern)
	default:
		return nil, wire.Unknown(r)
	}
}

// call decodes the body strictly and runs one operation.
func call[In any](r *wire.Request, operation func(*wire.Request, *In) (any, error)) (any, error) {
	in := new(In)
	if err := wire.DecodeStrict(r, in); err != nil {
		return nil, err
	}
	return operation(r, in)
}

func invalid(message string) error {
	return &wire.Error{Code: "ValidationException", Message: message}
}

func notFound(message string) error {
	return &wire.Error{Code: "ResourceNotFoundException", Message: message}
}

// Event is what a source puts on the bus; the bus adds id, time, account and region.
type Event struct {
	Source, DetailType string
	Resources          []string
	Detail             any // marshals to a JSON object
}

// document is an event in the form in which targets get it.
type document struct {
	Version    string          `json:"version"`
	ID         string          `json:"id"`
	DetailType string          `json:"detail-type"`
	Source     string          `json:"source"`
	Account    string          `json:"account"`
	Time       eventTime       `json:"time"`
	Region     string          `json:"region"`
	Resources  []string        `json:"resources"`
	Detail     json.RawMessage `json:"detail"`
}

// eventTime is written to the second, as EventBridge does.
type eventTime struct{ time.Time }

// MarshalJSON writes the time in UTC.
func (t eventTime) MarshalJSON() ([]byte, error) {
	return json.Marshal(t.UTC().Format("2006-01-02T15:04:05Z"))
}
