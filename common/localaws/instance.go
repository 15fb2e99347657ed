package localaws

import (
	"fmt"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/ec2"
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

// RunInstance adds an instance, starts its metadata service and returns it with everything filled in.
func (s *Server) RunInstance(i Instance) (Instance, error) {
	setDefault(&i.PrivateIP, "127.0.0.1")
	run, err := s.ec2.Run(ec2.Instance{ID: i.ID, PrivateIP: i.PrivateIP, AZ: i.AZ, Tags: i.Tags, State: i.State, LaunchTime: i.LaunchTime})
	if err != nil {
		return Instance{}, err
	}
	out := Instance{ID: run.ID, ARN: run.ARN, PrivateIP: run.PrivateIP, AZ: run.AZ, Tags: run.Tags, State: run.State,
		LaunchTime: run.LaunchTime, NoMetadata: i.NoMetadata}
	return out, nil
}

// SetInstanceState moves an instance to another state at once. Its metadata service goes on, since the
// processes that play the machine do.
func (s *Server) SetInstanceState(id, state string) error {
	if err := s.ec2.SetState(id, state); err != nil {
		return fmt.Errorf("changing the state of %q: %w", id, err)
	}
	return nil
}

// TagInstance adds tags to an instance; those of the same key are overwritten.
func (s *Server) TagInstance(id string, tags map[string]string) error {
	return s.ec2.Tag(id, tags)
}

// UntagInstance removes tags by key.
func (s *Server) UntagInstance(id string, keys ...string) error {
	return s.ec2.Untag(id, keys...)
}
