package dynamodb

import "github.com/rotatessh/rotatessh/common/localaws/internal/wire"

type timeToLive struct {
	AttributeName string
	Enabled       bool
}

type updateTTLInput struct {
	TableName               string
	TimeToLiveSpecification timeToLive
}

type updateTTLOutput struct{ TimeToLiveSpecification timeToLive }

type ttlDescription struct {
	TimeToLiveStatus string
	AttributeName    string `json:",omitempty"`
}

type describeTTLOutput struct{ TimeToLiveDescription ttlDescription }

func (s *Service) updateTimeToLive(_ *wire.Request, in *updateTTLInput) (any, error) {
	spec := in.TimeToLiveSpecification
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.named(in.TableName)
	switch {
	case err != nil:
		return nil, err
	case spec.AttributeName == "":
		return nil, invalid("TimeToLiveSpecification.AttributeName must not be empty")
	case spec.Enabled && t.ttl != "":
		return nil, invalid("TimeToLive is already enabled")
	case !spec.Enabled && t.ttl == "":
		return nil, invalid("TimeToLive is already disabled")
	case !spec.Enabled && t.ttl != spec.AttributeName:
		return nil, invalid("TimeToLive is active on a different AttributeName: current AttributeName is " + t.ttl)
	case spec.Enabled:
		t.ttl = spec.AttributeName
	default:
		t.ttl = ""
	}
	return updateTTLOutput{spec}, nil
}

func (s *Service) describeTimeToLive(_ *wire.Request, in *tableInput) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.named(in.TableName)
	if err != nil {
		return nil, err
	}
	if t.ttl == "" {
		return describeTTLOutput{ttlDescription{TimeToLiveStatus: "DISABLED"}}, nil
	}
	return describeTTLOutput{ttlDescription{"ENABLED", t.ttl}}, nil
}
