package sqs

import (
	"maps"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

const (
	// coolDown is how long a name stays taken after its queue was deleted, and how long a purge lasts.
	coolDown = 60 * time.Second
	maxList  = 1000
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

type createQueueInput struct {
	QueueName  string
	Attributes map[string]string
	Tags       map[string]string `json:"tags"`
}

type urlOutput struct{ QueueUrl string }

func (s *Service) createQueue(r *wire.Request, in *createQueueInput) (any, error) {
	if !namePattern.MatchString(in.QueueName) {
		return nil, invalid("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	}
	if err := checkAttributes(in.Attributes); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if q, ok := s.queues[in.QueueName]; ok {
		return urlOutput{s.url(r, q.name)}, q.sameAs(in.Attributes)
	}
	now := time.Now()
	if now.Sub(s.deleted[in.QueueName]) < coolDown {
		return nil, &wire.Error{
			Code: "QueueDeletedRecently", QueryCode: "AWS.SimpleQueueService.QueueDeletedRecently",
			Message: "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
		}
	}
	delete(s.deleted, in.QueueName)
	q := newQueue(in.QueueName, s.arn(in.QueueName), now)
	q.set(in.Attributes)
	maps.Copy(q.tags, in.Tags)
	s.queues[q.name], s.names = q, nil
	return urlOutput{s.url(r, q.name)}, nil
}

// sameAs lets a repeated CreateQueue succeed, unless it asks for other attributes. Tags do not count.
func (q *queue) sameAs(attributes map[string]string) error {
	have := q.describe(time.Now())
	for name, value := range attributes {
		if have[name] != value {
			return &wire.Error{
				Code: "QueueNameExists", QueryCode: "QueueAlreadyExists",
				Message: "A queue already exists with the same name and a different value for attribute " + name,
			}
		}
	}
	return nil
}

type getURLInput struct{ QueueName, QueueOwnerAWSAccountId string }

func (s *Service) getQueueURL(r *wire.Request, in *getURLInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.queues[in.QueueName]
	if !ok || in.QueueOwnerAWSAccountId != "" && in.QueueOwnerAWSAccountId != s.deps.Account {
		return nil, noQueue()
	}
	return urlOutput{s.url(r, in.QueueName)}, nil
}

type queueInput struct{ QueueUrl string }

func (s *Service) deleteQueue(_ *wire.Request, in *queueInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for name, at := range s.deleted {
		if now.Sub(at) >= coolDown {
			delete(s.deleted, name)
		}
	}
	delete(s.queues, q.name)
	s.deleted[q.name], s.names = now, nil
	q.gone = true
	q.wake()
	return nil, nil
}

func (s *Service) purgeQueue(_ *wire.Request, in *queueInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if time.Since(q.purged) < coolDown {
		return nil, &wire.Error{
			Code: "PurgeQueueInProgress", QueryCode: "AWS.SimpleQueueService.PurgeQueueInProgress",
			Message: "Only one PurgeQueue operation on " + q.name + " is allowed every 60 seconds.",
		}
	}
	q.purged = time.Now()
	q.clear()
	return nil, nil
}

type listQueuesInput struct {
	QueueNamePrefix, NextToken string
	MaxResults                 *int
}

type listQueuesOutput struct {
	QueueUrls []string `json:",omitempty" xml:"QueueUrl"`
	NextToken string   `json:",omitempty" xml:",omitempty"`
}

// listQueues gives a token only when MaxResults is set, as AWS does; the token is the last name of the page.
func (s *Service) listQueues(r *wire.Request, in *listQueuesInput) (any, error) {
	limit := maxList
	if in.MaxResults != nil {
		limit = *in.MaxResults
	}
	if limit < 1 || limit > maxList {
		return nil, invalidValue("MaxResults", limit, "MaxResults must be an integer between 1 and 1000")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.sortedNames()
	from := max(in.NextToken+"\x00", in.QueueNamePrefix)
	if in.NextToken == "" {
		from = in.QueueNamePrefix
	}
	var out listQueuesOutput
	last := ""
	for _, name := range names[sort.SearchStrings(names, from):] {
		if !strings.HasPrefix(name, in.QueueNamePrefix) {
			break
		}
		if len(out.QueueUrls) == limit {
			if in.MaxResults != nil {
				out.NextToken = last
			}
			break
		}
		out.QueueUrls = append(out.QueueUrls, s.url(r, name))
		last = name
	}
	return out, nil
}

func (s *Service) sortedNames() []string {
	if s.names == nil {
		s.names = slices.Sorted(maps.Keys(s.queues))
	}
	return s.names
}
