package sqs

import (
	"encoding/json"
	"maps"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

const maxTags = 50

type tagInput struct {
	QueueUrl string
	Tags     map[string]string
}

func (s *Service) tagQueue(_ *wire.Request, in *tagInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	tags := maps.Clone(q.tags)
	maps.Copy(tags, in.Tags)
	if len(tags) > maxTags {
		return nil, invalid("InvalidParameterValue", "Too many tags added for queue "+q.name+".")
	}
	q.tags = tags
	return nil, nil
}

type untagInput struct {
	QueueUrl string
	TagKeys  []string
}

func (s *Service) untagQueue(_ *wire.Request, in *untagInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	for _, key := range in.TagKeys {
		delete(q.tags, key)
	}
	return nil, nil
}

type tagsOutput struct {
	Tags tagMap `json:",omitempty" xml:"Tag"`
}

func (s *Service) listQueueTags(_ *wire.Request, in *queueInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return tagsOutput{maps.Clone(q.tags)}, nil
}

// Target is the queue that a request is about, for access rules.
type Target struct {
	Name, ARN string
	// Exists tells whether there is such a queue; Tags are the queue's own.
	Exists bool
	Tags   map[string]string
	// RequestTags are the tags that the request would set.
	RequestTags map[string]string
}

// Target finds out which queue r names and what it would tag; it answers false for a request that names none.
func (s *Service) Target(r *wire.Request) (Target, bool) {
	var in struct {
		QueueName, QueueUrl string
		Tags                map[string]string
	}
	body := r.Body
	if r.Protocol == wire.Query {
		body = fromForm(r.Form)
	}
	if json.Unmarshal(body, &in) != nil || in.QueueName+in.QueueUrl == "" {
		return Target{}, false
	}
	name := in.QueueName
	if name == "" {
		name = lastPart(in.QueueUrl)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := Target{Name: name, ARN: s.arn(name), RequestTags: in.Tags}
	if q, ok := s.queues[name]; ok {
		t.Exists, t.Tags = true, maps.Clone(q.tags)
	}
	return t, true
}
