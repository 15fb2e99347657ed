package localaws

import (
	"errors"
	"slices"
	"sync"
)

// ErrDrop is for a hook of a Fault to return: it closes the client's connection without an answer.
var ErrDrop = errors.New("connection dropped")

// APIError is for a hook of a Fault to return: it is what the client gets to see.
type APIError struct {
	Code, Message string
	Status        int // HTTP status; 0 means 400
}

func (e *APIError) Error() string { return e.Code + ": " + e.Message }

// Fault is a hook on some of the calls, those of Secrets Manager's to the rotation function included
// (service lambda, action Invoke). Hooks run in the call's own goroutine and may block, end processes or
// change the server; several hooks on one call run in the order of OnCall.
type Fault struct {
	Service string          // the service's IAM prefix, as in Call; "" matches every one
	Action  string          // "" matches every one
	Match   func(Call) bool // nil matches every one

	// Before runs before anything happened; its error is answered and the call has no effect.
	Before func(Call) error
	// After runs when the call took effect, and not when it failed; its error replaces the answer.
	After func(Call) error
}

func (f *Fault) matches(c Call) bool {
	return (f.Service == "" || f.Service == c.Service) && (f.Action == "" || f.Action == c.Action) &&
		(f.Match == nil || f.Match(c))
}

type faultList struct {
	mu   sync.Mutex
	list []*Fault // replaced, never changed in place
}

// OnCall installs f until remove is called.
func (s *Server) OnCall(f Fault) (remove func()) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = append(slices.Clone(s.faults.list), &f)
	return func() { s.faults.remove(&f) }
}

func (l *faultList) remove(f *Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(slices.Clone(l.list), func(have *Fault) bool { return have == f })
}

func (l *faultList) snapshot() []*Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list
}

func (l *faultList) before(c Call) error {
	for _, f := range l.snapshot() {
		if f.Before != nil && f.matches(c) {
			if err := f.Before(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *faultList) after(c Call) error {
	for _, f := range l.snapshot() {
		if f.After != nil && f.matches(c) {
			if err := f.After(c); err != nil {
				return err
			}
		}
	}
	return nil
}
