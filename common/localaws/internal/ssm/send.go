package ssm

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

const (
	shellScript      = "AWS-RunShellScript"
	maxInstances     = 50
	executionTimeout = "3600" // the document's default, in seconds
	maxParameters    = 64 << 10
)

var (
	concurrencyForm = regexp.MustCompile(`^([1-9][0-9]*|[1-9][0-9]%|[1-9]%|100%)$`)
	errorsForm      = regexp.MustCompile(`^([1-9][0-9]*|[0]|[1-9][0-9]%|[0-9]%|100%)$`)
)

type sendCommandInput struct {
	DocumentName    string
	DocumentVersion string
	Comment         string
	InstanceIds     []string
	MaxConcurrency  string
	MaxErrors       string
	Parameters      map[string][]string
	TimeoutSeconds  *int
}

func (s *Service) sendCommand(in sendCommandInput) (any, error) {
	c, err := newCommand(in)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var invalid []string
	for _, id := range in.InstanceIds {
		if s.managed[id] == nil || !s.deps.Running(id) {
			invalid = append(invalid, id)
		}
	}
	if len(invalid) > 0 {
		return nil, &wire.Error{Code: "InvalidInstanceId", Message: fmt.Sprintf("Instances [[%s]] not in a valid state for account %s", strings.Join(invalid, ", "), s.deps.Account)}
	}
	if s.closed {
		return nil, &wire.Error{Code: "InternalServerError", Message: "localaws is closed", Status: 500}
	}
	s.commands[c.id] = c
	s.order = append(s.order, c)
	s.wg.Go(func() { s.run(c) })
	return map[string]any{"Command": c.describe()}, nil
}

func newCommand(in sendCommandInput) (*command, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	seconds := 3600
	if in.TimeoutSeconds != nil {
		seconds = *in.TimeoutSeconds
	}
	timeout, err := strconv.Atoi(first(in.Parameters["executionTimeout"], executionTimeout))
	if err != nil || timeout < 1 || timeout > 172800 {
		return nil, invalidParameters("executionTimeout must be from 1 to 172800")
	}
	ids := slices.Clone(in.InstanceIds)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	c := &command{
		id: wire.NewUUID(), comment: in.Comment, document: in.DocumentName, parameters: in.Parameters, instances: ids,
		script: strings.Join(in.Parameters["commands"], "\n") + "\n", timeout: time.Duration(timeout) * time.Second, requested: time.Now(), seconds: seconds,
		maxConcurrency: or(in.MaxConcurrency, "50"), maxErrors: or(in.MaxErrors, "0"), invocations: map[string]*invocation{},
	}
	c.concurrency = max(1, share(c.maxConcurrency, len(ids)))
	c.maxFailing = share(c.maxErrors, len(ids))
	for _, id := range ids {
		c.invocations[id] = &invocation{instanceID: id, status: pending, details: pending}
	}
	return c, nil
}

func (in sendCommandInput) check() error {
	switch size := 0; {
	case in.DocumentName != shellScript:
		return &wire.Error{Code: "InvalidDocument", Message: fmt.Sprintf("Document with name %s does not exist.", in.DocumentName)}
	case in.DocumentVersion != "" && in.DocumentVersion != "$DEFAULT" && in.DocumentVersion != "$LATEST" && in.DocumentVersion != "1":
		return &wire.Error{Code: "InvalidDocumentVersion", Message: "Document version " + in.DocumentVersion + " does not exist."}
	case len(in.InstanceIds) == 0:
		return &wire.Error{Code: "ValidationException", Message: "localaws sends commands to InstanceIds only, and none is given"}
	case len(in.InstanceIds) > maxInstances:
		return constraint("instanceIds", "Member must have length less than or equal to 50")
	case in.MaxConcurrency != "" && !concurrencyForm.MatchString(in.MaxConcurrency):
		return constraint("maxConcurrency", "Member must satisfy regular expression pattern: "+concurrencyForm.String())
	case in.MaxErrors != "" && !errorsForm.MatchString(in.MaxErrors):
		return constraint("maxErrors", "Member must satisfy regular expression pattern: "+errorsForm.String())
	case len(in.Comment) > 100:
		return constraint("comment", "Member must have length less than or equal to 100")
	case in.TimeoutSeconds != nil && *in.TimeoutSeconds < 30:
		return constraint("timeoutSeconds", "Member must have value greater than or equal to 30")
	case len(in.Parameters["commands"]) == 0:
		return invalidParameters("commands is required")
	default:
		for name, values := range in.Parameters {
			if name != "commands" && name != "executionTimeout" && name != "workingDirectory" {
				return invalidParameters(name + " is not a parameter of " + shellScript)
			}
			for _, v := range values {
				size += len(v)
			}
		}
		if size > maxParameters {
			return invalidParameters("the parameters are too long")
		}
	}
	return nil
}

func constraint(member, text string) error {
	return &wire.Error{Code: "ValidationException", Message: "1 validation error detected: Value at '" + member + "' failed to satisfy constraint: " + text}
}

func invalidParameters(text string) error {
	return &wire.Error{Code: "InvalidParameters", Message: text}
}

// share is a number, or a percentage of all.
func share(s string, all int) int {
	if percent, ok := strings.CutSuffix(s, "%"); ok {
		n, _ := strconv.Atoi(percent)
		return all * n / 100
	}
	n, _ := strconv.Atoi(s)
	return n
}

func first(values []string, def string) string {
	if len(values) > 0 {
		return values[0]
	}
	return def
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// run runs a command's invocations, so many at a time, and sends it to no more instances once too many have failed.
func (s *Service) run(c *command) {
	slots := make(chan struct{}, c.concurrency)
	for _, id := range c.instances {
		slots <- struct{}{}
		s.wg.Go(func() {
			defer func() { <-slots }()
			s.invoke(c, c.invocations[id])
		})
	}
}

func (s *Service) invoke(c *command, i *invocation) {
	s.mu.Lock()
	run := s.managed[i.instanceID]
	if c.failed > c.maxFailing || run == nil || s.ctx.Err() != nil {
		i.status, i.details = cancelled, "Terminated"
		c.ended++
		s.mu.Unlock()
		return
	}
	i.status, i.details, i.began = inProgress, inProgress, time.Now()
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, c.timeout)
	defer cancel()
	result := run(ctx, c.script)
	s.mu.Lock()
	defer s.mu.Unlock()
	i.result, i.finished, i.status, i.details = result, time.Now(), success, success
	switch {
	case ctx.Err() != nil:
		i.status, i.details, i.result.ExitCode = timedOut, "ExecutionTimedOut", 137
	case result.ExitCode != 0:
		i.status, i.details = failed, failed
	}
	if i.status != success {
		c.failed++
	}
	c.ended++
}
