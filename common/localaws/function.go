package localaws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/lambda"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// FunctionSpec describes a Lambda function whose bootstrap is an executable of this machine.
type FunctionSpec struct {
	Name    string
	Command []string      // absolute path of the bootstrap, and its arguments
	Env     []string      // KEY=value, on top of what Lambda itself and the endpoint need
	Timeout time.Duration // of one invocation; default 3s, at most 15m
	Stderr  io.Writer     // what its processes write to stdout and stderr; nil discards it
}

// FunctionError is an invocation that reached the function and failed there.
type FunctionError struct {
	Function string
	Payload  []byte // JSON with errorType and errorMessage
}

func (e *FunctionError) Error() string {
	return fmt.Sprintf("function %s failed: %s", e.Function, e.Payload)
}

// CreateFunction adds a function, or replaces the one of that name and ends its processes. Processes start
// with the first invocation and die with this process.
func (s *Server) CreateFunction(spec FunctionSpec) (arn string, err error) {
	return s.functions.Create(lambda.Spec(spec))
}

// FunctionPIDs returns the processes of a function that are alive. One that is killed in the middle of an
// invocation makes it fail, and the next invocation starts another.
func (s *Server) FunctionPIDs(name string) []int { return s.functions.PIDs(name) }

// Invoke runs a function synchronously as the operator. The error is a *FunctionError if the function ran
// and failed, an *APIError if it could not be invoked.
func (s *Server) Invoke(ctx context.Context, name string, payload []byte) ([]byte, error) {
	return s.invoke(ctx, wire.Principal{}, name, payload)
}

// invoke sends an invocation through the same faults and record as one that came over HTTP.
func (s *Server) invoke(ctx context.Context, p wire.Principal, name string, payload []byte) ([]byte, error) {
	r := &wire.Request{Service: "lambda", Action: "Invoke", Protocol: wire.REST, Principal: p, Body: payload,
		Region: s.opts.Region, Account: s.opts.Account, Form: url.Values{"FunctionName": {name}}}
	answer := s.run(ctx, r, wire.NewUUID())
	switch {
	case answer == nil:
		return nil, fmt.Errorf("invoking %q: %w", name, ErrDrop)
	case answer.Status != 200:
		return nil, &APIError{Code: answer.Code, Message: string(answer.Body), Status: answer.Status}
	case answer.Code != "":
		return nil, &FunctionError{Function: name, Payload: answer.Body}
	}
	return answer.Body, nil
}

// attemptEvent is one attempt to deliver an event to a function.
func (s *Server) attemptEvent(ctx context.Context, name string, payload []byte) (lambda.Result, error) {
	out, err := s.invoke(ctx, wire.Principal{Service: "events"}, name, payload)
	if failed, ok := errors.AsType[*FunctionError](err); ok {
		return lambda.Result{Payload: failed.Payload, FunctionError: "Unhandled"}, nil
	}
	return lambda.Result{Payload: out}, err
}

// functionEnv is how a function reaches the endpoint: its execution role's credentials, and nothing that
// the machine's own AWS configuration says.
func (s *Server) functionEnv(name string) []string {
	c := s.identities.role(name)
	return []string{
		"AWS_ENDPOINT_URL=" + s.URL(),
		"AWS_REGION=" + s.opts.Region,
		"AWS_DEFAULT_REGION=" + s.opts.Region,
		"AWS_ACCESS_KEY_ID=" + c.accessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + c.secretKey,
		"AWS_SESSION_TOKEN=" + c.token,
		"AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		"AWS_EC2_METADATA_DISABLED=true",
	}
}
