package localaws

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/ec2"
	"github.com/rotatessh/rotatessh/common/localaws/internal/eventbridge"
	"github.com/rotatessh/rotatessh/common/localaws/internal/imds"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Instance is an EC2 instance as far as the fleet and its metadata service need it.
type Instance struct {
	ID         string // i-…, random when empty
	ARN        string // set by RunInstance
	Region     string // default the endpoint's
	Account    string // default the endpoint's
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

// workerRole is the role whose credentials every instance gets, and workerSession their life.
const (
	workerRole    = "rotatessh-worker"
	workerSession = 6 * time.Hour
)

// metadata keeps the metadata services of instances, by instance id.
type metadata struct {
	mu      sync.Mutex
	servers map[string]*imds.Server
	closed  bool
}

// RunInstance adds an instance, starts its metadata service and returns it with everything filled in.
func (s *Server) RunInstance(i Instance) (Instance, error) {
	setDefault(&i.PrivateIP, "127.0.0.1")
	run, err := s.ec2.Run(ec2.Instance{ID: i.ID, Region: i.Region, Account: i.Account, PrivateIP: i.PrivateIP, AZ: i.AZ, Tags: i.Tags, State: i.State, LaunchTime: i.LaunchTime})
	if err != nil {
		return Instance{}, err
	}
	out := Instance{ID: run.ID, ARN: run.ARN, Region: run.Region, Account: run.Account, PrivateIP: run.PrivateIP, AZ: run.AZ, Tags: run.Tags, State: run.State,
		LaunchTime: run.LaunchTime, NoMetadata: i.NoMetadata}
	if i.NoMetadata {
		return out, nil
	}
	if out.MetadataURL, err = s.startMetadata(run); err != nil {
		s.ec2.Remove(run.ID)
		return Instance{}, fmt.Errorf("running instance %q: %w", run.ID, err)
	}
	return out, nil
}

func (s *Server) startMetadata(i ec2.Instance) (url string, err error) {
	s.metadata.mu.Lock()
	defer s.metadata.mu.Unlock()
	if s.metadata.closed {
		return "", errClosed
	}
	server, err := imds.Start(imds.Deps{Role: workerRole,
		Metadata: func() imds.Metadata { return s.describe(i.ID) },
		Issue:    func() imds.Credentials { return s.issueToWorker(i.ARN) }})
	if err != nil {
		return "", err
	}
	s.metadata.servers[i.ID] = server
	return server.URL(), nil
}

func (s *Server) describe(id string) imds.Metadata {
	i, _ := s.ec2.Get(id) // it is never removed while its metadata service runs
	return imds.Metadata{InstanceID: i.ID, PrivateIP: i.PrivateIP, AZ: i.AZ, Region: i.Region, Account: i.Account,
		Type: i.Type, ImageID: i.ImageID, LaunchTime: i.LaunchTime, Tags: i.Tags}
}

func (s *Server) issueToWorker(instanceARN string) imds.Credentials {
	c := s.identities.issue(wire.Principal{Worker: instanceARN}, workerSession)
	return imds.Credentials{AccessKeyID: c.accessKeyID, SecretAccessKey: c.secretKey, SessionToken: c.token,
		Issued: c.expires.Add(-workerSession), Expires: c.expires}
}

// close stops every metadata service.
func (m *metadata) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	var errs []error
	for id, server := range m.servers {
		errs = append(errs, server.Close())
		delete(m.servers, id)
	}
	return errors.Join(errs...)
}

// SetInstanceState moves an instance to another state at once, and puts EC2's event about it on the default
// bus. Its metadata service goes on, since the processes that play the machine do.
func (s *Server) SetInstanceState(id, state string) error {
	if err := s.ec2.SetState(id, state); err != nil {
		return fmt.Errorf("changing the state of %q: %w", id, err)
	}
	i, _ := s.ec2.Get(id)
	return s.events.Put(eventbridge.Event{
		Source: "aws.ec2", DetailType: "EC2 Instance State-change Notification", Resources: []string{i.ARN},
		Detail: map[string]string{"instance-id": id, "state": state},
	})
}

// TagInstance adds tags to an instance; those of the same key are overwritten.
func (s *Server) TagInstance(id string, tags map[string]string) error {
	return s.ec2.Tag(id, tags)
}

// UntagInstance removes tags by key.
func (s *Server) UntagInstance(id string, keys ...string) error {
	return s.ec2.Untag(id, keys...)
}
