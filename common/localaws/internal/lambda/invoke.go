package lambda

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

const asyncAttempts = 3 // AWS's default: two retries

// Handle serves Invoke; r.Form carries what the REST call had in its path and headers: FunctionName and
// InvocationType.
func (s *Service) Handle(ctx context.Context, r *wire.Request) (any, error) {
	if r.Action != "Invoke" {
		return nil, wire.Unknown(r)
	}
	name := r.Form.Get("FunctionName")
	if !s.Exists(name) {
		return nil, errNoFunction(s.ARN(name))
	}
	if err := checkInvoke(r); err != nil {
		return nil, err
	}
	payload := r.Body
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	switch kind := r.Form.Get("InvocationType"); kind {
	case "", "RequestResponse":
		return s.handleSync(ctx, name, payload)
	case "Event":
		s.InvokeAsync(name, payload)
		return &wire.Answer{Status: http.StatusAccepted}, nil
	case "DryRun":
		return &wire.Answer{Status: http.StatusNoContent}, nil
	default:
		return nil, invalidParameter("invalid InvocationType " + kind)
	}
}

// checkInvoke refuses what would otherwise be left out in silence.
func checkInvoke(r *wire.Request) error {
	switch {
	case r.Form.Get("LogType") == "Tail":
		return invalidParameter("localaws returns no logs: LogType must be None")
	case r.Form.Get("ClientContext") != "":
		return invalidParameter("localaws passes no ClientContext on")
	case r.Form.Get("Qualifier") != "" && r.Form.Get("Qualifier") != "$LATEST":
		return invalidParameter("localaws has no versions and aliases: Qualifier must be $LATEST")
	case len(r.Body) > maxPayload:
		return &wire.Error{Code: "RequestTooLargeException", Message: "Request must be smaller than 6291456 bytes for the InvokeFunction operation", Status: http.StatusRequestEntityTooLarge}
	case len(r.Body) > 0 && !json.Valid(r.Body):
		return &wire.Error{Code: "InvalidRequestContentException", Message: "Could not parse request body into json"}
	}
	return nil
}

func invalidParameter(msg string) error {
	return &wire.Error{Code: "InvalidParameterValueException", Message: msg}
}

func (s *Service) handleSync(ctx context.Context, name string, payload []byte) (any, error) {
	result, err := s.Invoke(ctx, name, payload)
	if err != nil {
		return nil, err
	}
	h := http.Header{"Content-Type": {"application/json"}, "X-Amz-Executed-Version": {"$LATEST"}}
	if result.FunctionError != "" {
		h.Set("X-Amz-Function-Error", result.FunctionError)
	}
	return &wire.Answer{Status: http.StatusOK, Header: h, Body: result.Payload, Code: result.FunctionError}, nil
}

// InvokeAsync queues an event for the function and returns at once. A failed invocation is tried twice more.
func (s *Service) InvokeAsync(id string, payload []byte) {
	s.track(func() { s.invokeAsync(id, payload) })
}

func (s *Service) invokeAsync(id string, payload []byte) {
	log := s.deps.Log.With(zap.String("function", id))
	wait := s.deps.RetryAfter
	for attempt := 1; attempt <= asyncAttempts; attempt++ {
		result, err := s.deps.Attempt(s.ctx, id, payload)
		if err != nil {
			log.Info("event not delivered to function", zap.Error(err))
			return
		}
		if result.FunctionError == "" {
			return
		}
		log.Info("function failed on event", zap.Int("attempt", attempt), zap.ByteString("answer", result.Payload))
		select {
		case <-time.After(wait):
			wait *= 2
		case <-s.ctx.Done():
			return
		}
	}
}

// track runs f in the background unless the service is closed; Close waits for it.
func (s *Service) track(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.wg.Go(f)
	return true
}
