package localaws

import (
	"context"
	"errors"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// run takes one call through faults, access rules and its service, and records it. A nil answer means
// that the connection is to be closed without one.
func (s *Server) run(ctx context.Context, r *wire.Request, requestID string) *wire.Answer {
	call := Call{Seq: s.seq.Add(1), Service: r.Service, Action: r.Action, Resource: s.resource(r),
		Principal: r.Principal.String(), Start: time.Now(), Input: r.Body}
	if call.Input == nil {
		call.Input = []byte(r.Form.Encode())
	}
	answer := s.answer(ctx, r, requestID, call)
	call.End = time.Now()
	call.ErrorCode = "dropped"
	if answer != nil {
		call.ErrorCode, call.Output = answer.Code, answer.Body
	}
	s.calls.add(call)
	return answer
}

func (s *Server) answer(ctx context.Context, r *wire.Request, requestID string, call Call) *wire.Answer {
	if err := s.faults.before(call); err != nil {
		return encodeFault(r, requestID, err)
	}
	out, err := s.perform(ctx, r)
	answer := wire.Encode(r, requestID, out, err)
	if err != nil {
		return answer
	}
	call.End, call.Output = time.Now(), answer.Body
	if err := s.faults.after(call); err != nil {
		return encodeFault(r, requestID, err)
	}
	return answer
}

func (s *Server) perform(ctx context.Context, r *wire.Request) (any, error) {
	if r.Principal.Worker != "" {
		if err := s.authorize(ctx, r); err != nil {
			return nil, err
		}
	}
	service := s.services[r.Service]
	if service == nil {
		return nil, wire.Unknown(r)
	}
	return service.Handle(ctx, r)
}

func encodeFault(r *wire.Request, requestID string, err error) *wire.Answer {
	if errors.Is(err, ErrDrop) {
		return nil
	}
	if e, ok := errors.AsType[*APIError](err); ok {
		err = &wire.Error{Code: e.Code, Message: e.Message, Status: e.Status}
	}
	return wire.Encode(r, requestID, nil, err)
}
