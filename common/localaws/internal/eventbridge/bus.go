package eventbridge

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// job is an event that is still to be delivered: to the rules that match it, or to the one rule whose schedule made it.
type job struct {
	event document
	rule  *rule
}

// Put puts an event on the bus, as AWS services do by themselves. It returns before anything is delivered. It fails only if the detail
// cannot be marshalled.
func (s *Service) Put(e Event) error {
	detail, err := json.Marshal(e.Detail)
	if err != nil {
		return fmt.Errorf("marshalling the detail of %q: %w", e.DetailType, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(job{event: document{Source: e.Source, DetailType: e.DetailType, Resources: e.Resources, Detail: detail}})
	return nil
}

// put completes an event, queues it and returns its id. The caller holds mu.
func (s *Service) put(j job) string {
	e := &j.event
	e.Version, e.Account, e.Region, e.ID = "0", s.deps.Account, s.deps.Region, wire.NewUUID()
	if e.Time.IsZero() {
		e.Time.Time = time.Now()
	}
	if e.Resources == nil {
		e.Resources = []string{}
	}
	if s.closed {
		return e.ID
	}
	s.pending = append(s.pending, j)
	if !s.working {
		s.working = true
		go s.work()
	}
	return e.ID
}

// work delivers pending events until there are none.
func (s *Service) work() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.pending) > 0 {
		j := s.pending[0]
		s.pending = s.pending[1:]
		s.route(j)
	}
	s.working = false
	s.idle.Broadcast()
}

// route sends one event where it belongs. The caller holds mu, which is given up while it is under way.
func (s *Service) route(j job) {
	text, err := json.Marshal(j.event)
	if err != nil {
		return // made of strings and valid JSON, it always marshals
	}
	var deliveries []delivery
	for _, r := range s.rules {
		if r.State == enabled && r.wants(j, text) {
			deliveries = append(deliveries, r.deliveries(text)...)
		}
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	s.deps.Record(text)
	for _, d := range deliveries {
		s.deliver(d)
	}
}

func (r *rule) wants(j job, text []byte) bool {
	if j.rule != nil {
		return r == j.rule
	}
	return r.pattern != nil && r.pattern.Matches(text)
}

// Settle waits until every event put so far has been handed to its targets.
func (s *Service) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.working {
		s.idle.Wait()
	}
}

// Dropped is how many deliveries have been lost because a target was not there or did not allow them.
func (s *Service) Dropped() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}
