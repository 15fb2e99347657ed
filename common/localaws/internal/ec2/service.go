// Package ec2 is the EC2 of localaws: instances with states, tags and addresses, and the calls that describe them.
//
// It promises AWS's filters with wildcards, its pages and its refusals of unknown ids and filters. It launches and stops nothing
// by API: instances come and go through the Go methods, so that whoever plays a machine decides.
package ec2

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Deps says in which region and account instances run that name none. Callers see those of their own region and
// account only.
type Deps struct{ Region, Account string }

// Instance is one virtual machine. Copies are handed out: changing one changes nothing here.
type Instance struct {
	ID         string // i- and 17 hexadecimal digits
	ARN        string
	Region     string
	Account    string
	PrivateIP  string
	AZ         string
	State      string // pending, running, shutting-down, terminated, stopping or stopped
	Type       string
	ImageID    string
	LaunchTime time.Time
	Tags       map[string]string
}

// Service holds all instances. It implements wire.Handler and is safe for concurrent use.
type Service struct {
	deps Deps
	mu   sync.RWMutex
	byID map[string]*machine
	// order lists the instances by age; a removed one leaves no gap, and a page starts at a sequence number by binary search.
	order []*machine
	last  int
}

// machine is an instance and its place in the order of launches. Its Tags are replaced, never changed.
type machine struct {
	Instance
	seq int
}

var _ wire.Handler = (*Service)(nil)

// New makes a service without instances.
func New(d Deps) *Service {
	return &Service{deps: d, byID: map[string]*machine{}}
}

// Handle answers one call.
func (s *Service) Handle(_ context.Context, r *wire.Request) (any, error) {
	switch r.Action {
	case "DescribeInstances":
		return s.describeInstances(r)
	case "DescribeTags":
		return s.describeTags(r)
	case "CreateTags":
		return s.createTags(r)
	case "DeleteTags":
		return s.deleteTags(r)
	default:
		return nil, wire.Unknown(r)
	}
}

// Run adds an instance and returns it with all that was left empty filled in: a random id, its ARN, an address, a zone, the state
// running. It fails only on an id that is taken and on an unknown state.
func (s *Service) Run(in Instance) (Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.byID[in.ID]; taken {
		return Instance{}, fmt.Errorf("running instance %q: id is taken", in.ID)
	}
	in = s.complete(in)
	if _, ok := stateCode(in.State); !ok {
		return Instance{}, fmt.Errorf("running instance %q: no such state as %q", in.ID, in.State)
	}
	s.last++
	m := &machine{in, s.last}
	s.byID[in.ID] = m
	s.order = append(s.order, m)
	return m.snapshot(), nil
}

func (s *Service) complete(in Instance) Instance {
	fill := func(into *string, value string) {
		if *into == "" {
			*into = value
		}
	}
	fill(&in.ID, "i-"+wire.NewHex(17))
	fill(&in.Region, s.deps.Region)
	fill(&in.Account, s.deps.Account)
	fill(&in.ARN, "arn:aws:ec2:"+in.Region+":"+in.Account+":instance/"+in.ID)
	fill(&in.PrivateIP, fmt.Sprintf("10.%d.%d.%d", rand.IntN(256), rand.IntN(256), 4+rand.IntN(251)))
	fill(&in.AZ, in.Region+"a")
	fill(&in.State, "running")
	fill(&in.Type, "m7g.medium")
	fill(&in.ImageID, "ami-0123456789abcdef0")
	if in.LaunchTime.IsZero() {
		in.LaunchTime = time.Now()
	}
	in.Tags = maps.Clone(in.Tags)
	return in
}

func (m *machine) snapshot() Instance {
	in := m.Instance
	in.Tags = maps.Clone(in.Tags)
	return in
}

// Get returns an instance, if there is one of that id.
func (s *Service) Get(id string) (Instance, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m, ok := s.byID[id]
	if !ok {
		return Instance{}, false
	}
	return m.snapshot(), true
}

// Instances returns all instances, oldest first.
func (s *Service) Instances() []Instance {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]Instance, len(s.order))
	for i, m := range s.order {
		all[i] = m.snapshot()
	}
	return all
}

// change edits one instance in place.
func (s *Service) change(id string, edit func(*machine)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.byID[id]
	if !ok {
		return fmt.Errorf("no instance %q", id)
	}
	edit(m)
	return nil
}

// SetState moves an instance to a state at once, without passing through those between.
func (s *Service) SetState(id, state string) error {
	if _, ok := stateCode(state); !ok {
		return fmt.Errorf("no instance state %q", state)
	}
	return s.change(id, func(m *machine) { m.State = state })
}

// Tag adds tags to an instance; those of the same key are overwritten.
func (s *Service) Tag(id string, tags map[string]string) error {
	return s.change(id, func(m *machine) {
		merged := map[string]string{}
		maps.Copy(merged, m.Tags)
		maps.Copy(merged, tags)
		m.Tags = merged
	})
}

// SetTags replaces all tags of an instance.
func (s *Service) SetTags(id string, tags map[string]string) error {
	return s.change(id, func(m *machine) { m.Tags = maps.Clone(tags) })
}

// Untag removes tags by key; those that are not there are no fault.
func (s *Service) Untag(id string, keys ...string) error {
	return s.change(id, func(m *machine) {
		m.Tags = maps.Clone(m.Tags)
		for _, k := range keys {
			delete(m.Tags, k)
		}
	})
}

// Remove forgets an instance, as EC2 does within an hour after its termination.
func (s *Service) Remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.byID[id]
	if !ok {
		return
	}
	delete(s.byID, id)
	i := s.indexAfter(m.seq - 1)
	s.order = slices.Delete(s.order, i, i+1)
}

// indexAfter finds the first instance launched after the one of that number. The caller holds mu.
func (s *Service) indexAfter(seq int) int {
	i, _ := slices.BinarySearchFunc(s.order, seq+1, func(m *machine, seq int) int { return m.seq - seq })
	return i
}

// visibleTo reports whether the caller's region and account are the machine's.
func (m *machine) visibleTo(r *wire.Request) bool {
	return m.Region == r.Region && m.Account == r.Account
}

func stateCode(state string) (int, bool) {
	code, ok := map[string]int{"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}[state]
	return code, ok
}
