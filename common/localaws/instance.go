package localaws

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Instance is an EC2 instance as far as the fleet and its metadata service need it.
type Instance struct {
	ID         string // i-…, random when empty
	ARN        string // set by RunInstance
	PrivateIP  string // default 127.0.0.1
	AZ         string // default the region's first zone
	Tags       map[string]string
	State      string    // pending, running, shutting-down, terminated, stopping or stopped; default running
	LaunchTime time.Time // default now

	// NoMetadata leaves the instance without a metadata service, for fleets of many thousands.
	NoMetadata bool
	// MetadataURL is set by RunInstance, for AWS_EC2_METADATA_SERVICE_ENDPOINT.
	MetadataURL string
}

type instances struct {
	mu   sync.Mutex
	byID map[string]Instance
}

func (i Instance) clone() Instance {
	i.Tags = maps.Clone(i.Tags)
	return i
}

// RunInstance adds an instance and starts its metadata service.
func (s *Server) RunInstance(i Instance) (Instance, error) {
	i = i.clone()
	setDefault(&i.ID, "i-0"+wire.NewHex(16))
	setDefault(&i.PrivateIP, "127.0.0.1")
	setDefault(&i.AZ, s.opts.Region+"a")
	setDefault(&i.State, "running")
	setDefault(&i.LaunchTime, time.Now())
	i.ARN = "arn:aws:ec2:" + s.opts.Region + ":" + s.opts.Account + ":instance/" + i.ID
	s.instances.mu.Lock()
	defer s.instances.mu.Unlock()
	if _, taken := s.instances.byID[i.ID]; taken {
		return Instance{}, fmt.Errorf("running instance %q: id is taken", i.ID)
	}
	s.instances.byID[i.ID] = i
	return i.clone(), nil
}

// SetInstanceState moves an instance to another state.
func (s *Server) SetInstanceState(id, state string) error {
	return s.changeInstance(id, func(i *Instance) { i.State = state })
}

// TagInstance replaces all tags of an instance.
func (s *Server) TagInstance(id string, tags map[string]string) error {
	return s.changeInstance(id, func(i *Instance) { i.Tags = maps.Clone(tags) })
}

func (s *Server) changeInstance(id string, change func(*Instance)) error {
	s.instances.mu.Lock()
	defer s.instances.mu.Unlock()
	i, ok := s.instances.byID[id]
	if !ok {
		return fmt.Errorf("changing instance %q: there is none", id)
	}
	change(&i)
	s.instances.byID[id] = i
	return nil
}
