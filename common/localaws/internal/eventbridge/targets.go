package eventbridge

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/localaws/internal/eventbridge/pattern"
	"github.com/rotatessh/rotatessh/common/localaws/internal/sns"
	"github.com/rotatessh/rotatessh/common/localaws/internal/sqs"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

const (
	maxTargets = 5
	principal  = "events.amazonaws.com"
)

// target is where a rule sends events. Input, if set, goes instead of the event; InputPath picks a part of it.
type target struct {
	Id          string
	Arn         string
	RoleArn     string       `json:",omitempty"`
	Input       string       `json:",omitempty"`
	InputPath   string       `json:",omitempty"`
	RetryPolicy *retryPolicy `json:",omitempty"`
}

// retryPolicy is kept and shown; nothing here fails in a way that EventBridge would repeat.
type retryPolicy struct {
	MaximumRetryAttempts     *int `json:",omitempty"`
	MaximumEventAgeInSeconds *int `json:",omitempty"`
}

// delivery is one event on its way to one target.
type delivery struct {
	ruleARN, targetARN string
	payload            []byte
}

func (r *rule) deliveries(text []byte) []delivery {
	var out []delivery
	for _, id := range slices.Sorted(maps.Keys(r.targets)) {
		t := r.targets[id]
		out = append(out, delivery{r.Arn, t.Arn, t.payload(text)})
	}
	return out
}

func (t target) payload(text []byte) []byte {
	switch {
	case t.Input != "":
		return []byte(t.Input)
	case t.InputPath != "" && t.InputPath != "$":
		return extract(text, strings.Split(strings.TrimPrefix(t.InputPath, "$."), "."))
	default:
		return text
	}
}

// extract follows member names into a JSON text; what is not there gives null.
func extract(text []byte, names []string) []byte {
	for _, name := range names {
		var members map[string]json.RawMessage
		if json.Unmarshal(text, &members) != nil || members[name] == nil {
			return []byte("null")
		}
		text = members[name]
	}
	return text
}

func (s *Service) deliver(d delivery) {
	var err error
	switch service(d.targetARN) {
	case "sqs":
		err = s.deps.ToQueue(sqs.Delivery{QueueARN: d.targetARN, Service: principal, SourceARN: d.ruleARN, Body: string(d.payload)})
	case "sns":
		err = s.deps.ToTopic(principal, d.ruleARN, sns.Message{TopicARN: d.targetARN, Text: string(d.payload)})
	case "lambda":
		s.deps.ToFunction(d.targetARN, d.payload)
	}
	if err != nil {
		s.log.Warn("event not delivered", zap.String("rule", d.ruleARN), zap.String("target", d.targetARN), zap.Error(err))
		s.mu.Lock()
		s.dropped++
		s.mu.Unlock()
	}
}

// service is the third part of an ARN.
func service(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return ""
	}
	return parts[2]
}

type putTargetsInput struct {
	Rule, EventBusName string
	Targets            []target
}

type failedTarget struct{ TargetId, ErrorCode, ErrorMessage string }

type targetsOutput struct {
	FailedEntryCount int
	FailedEntries    []failedTarget
}

func (s *Service) putTargets(_ *wire.Request, in *putTargetsInput) (any, error) {
	for _, t := range in.Targets {
		if err := t.check(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.rule(in.Rule, in.EventBusName)
	if err != nil {
		return nil, err
	}
	targets := maps.Clone(r.targets)
	for _, t := range in.Targets {
		targets[t.Id] = t
	}
	if len(targets) > maxTargets {
		return nil, &wire.Error{Code: "LimitExceededException", Message: "The requested resource exceeds the maximum number allowed."}
	}
	r.targets = targets
	return targetsOutput{FailedEntries: []failedTarget{}}, nil
}

func (t target) check() error {
	switch {
	case !namePattern.MatchString(t.Id):
		return invalid("1 validation error detected: Value '" + t.Id + "' at 'targets.member.id' failed to satisfy constraint")
	case !slices.Contains([]string{"sqs", "sns", "lambda"}, service(t.Arn)):
		return invalid("localaws delivers to queues, topics and functions, not to " + t.Arn)
	case t.Input != "" && t.InputPath != "":
		return invalid(fmt.Sprintf("Only one of Input, InputPath, or InputTransformer must be provided for target %s.", t.Id))
	case t.Input != "" && !json.Valid([]byte(t.Input)):
		return invalid(fmt.Sprintf("JSON syntax error in input for target %s", t.Id))
	case t.InputPath != "" && t.InputPath != "$" && !strings.HasPrefix(t.InputPath, "$."):
		return invalid("Invalid InputPath for target " + t.Id + ".")
	default:
		return nil
	}
}

type removeTargetsInput struct {
	Rule, EventBusName string
	Ids                []string
	Force              bool
}

func (s *Service) removeTargets(_ *wire.Request, in *removeTargetsInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.rule(in.Rule, in.EventBusName)
	if err != nil {
		return nil, err
	}
	out := targetsOutput{FailedEntries: []failedTarget{}}
	targets := maps.Clone(r.targets)
	for _, id := range in.Ids {
		if _, ok := targets[id]; !ok {
			out.FailedEntries = append(out.FailedEntries, failedTarget{id, "ResourceNotFoundException", "Rule " + r.Name + " does not have target(s) " + id + " associated with it."})
		}
		delete(targets, id)
	}
	out.FailedEntryCount = len(out.FailedEntries)
	r.targets = targets
	return out, nil
}

type listTargetsInput struct {
	Rule, EventBusName, NextToken string
	Limit                         int
}

type listTargetsOutput struct {
	Targets   []target
	NextToken string `json:",omitempty"`
}

func (s *Service) listTargetsByRule(_ *wire.Request, in *listTargetsInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.rule(in.Rule, in.EventBusName)
	if err != nil {
		return nil, err
	}
	out := listTargetsOutput{Targets: []target{}}
	ids, token := page(slices.Sorted(maps.Keys(r.targets)), "", in.NextToken, in.Limit)
	for _, id := range ids {
		out.Targets = append(out.Targets, r.targets[id])
	}
	out.NextToken = token
	return out, nil
}

type testPatternInput struct{ EventPattern, Event string }

type testPatternOutput struct{ Result bool }

func (s *Service) testEventPattern(_ *wire.Request, in *testPatternInput) (any, error) {
	p, err := pattern.Parse(in.EventPattern)
	if err != nil {
		return nil, invalidPattern(err)
	}
	return testPatternOutput{p.Matches([]byte(in.Event))}, nil
}
