// Package sns is the SNS of localaws: standard topics that fan out to SQS queues.
//
// It promises raw and enveloped delivery, idempotent topics and subscriptions, and that AWS services publish only where the topic's
// policy lets them. It delivers to queues only, without filters, and refuses requests for more. It speaks the query protocol.
package sns

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/localaws/internal/policy"
	"github.com/rotatessh/rotatessh/common/localaws/internal/sqs"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Deps is what the service needs from others.
type Deps struct {
	Region, Account string
	Log             *zap.Logger
	// Deliver puts a message into a queue; its error means that the message is dropped, as it is for good on AWS without a
	// dead-letter queue.
	Deliver func(sqs.Delivery) error
}

// Service holds all topics and subscriptions. It implements wire.Handler and is safe for concurrent use.
type Service struct {
	deps   Deps
	log    *zap.Logger
	mu     sync.RWMutex
	topics map[string]*topic // by ARN
	subs   map[string]*subscription
	last   int
}

// topic is one topic. Service.mu guards it.
type topic struct {
	name, arn string
	settings  map[string]string
	policy    *policy.Policy
	// subs are in the order of their making; a page starts at a sequence number by binary search.
	subs       []*subscription
	byEndpoint map[string]*subscription
	removed    int
}

// subscription is one queue's. It is replaced, never changed, so that a publication may go on without the lock.
type subscription struct {
	arn, endpoint string
	topic         *topic
	raw           bool
	seq           int
}

var _ wire.Handler = (*Service)(nil)

// New makes a service without topics.
func New(d Deps) *Service {
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	return &Service{deps: d, log: d.Log, topics: map[string]*topic{}, subs: map[string]*subscription{}}
}

// Handle answers one call. Publish returns when every subscription has been served.
func (s *Service) Handle(_ context.Context, r *wire.Request) (any, error) {
	switch r.Action {
	case "CreateTopic":
		return s.createTopic(r)
	case "DeleteTopic":
		return s.deleteTopic(r)
	case "ListTopics":
		return s.listTopics(r)
	case "GetTopicAttributes":
		return s.getTopicAttributes(r)
	case "SetTopicAttributes":
		return s.setTopicAttributes(r)
	case "Subscribe":
		return s.subscribe(r)
	case "Unsubscribe":
		return s.unsubscribe(r)
	case "GetSubscriptionAttributes":
		return s.getSubscriptionAttributes(r)
	case "SetSubscriptionAttributes":
		return s.setSubscriptionAttributes(r)
	case "ListSubscriptionsByTopic":
		return s.listSubscriptionsByTopic(r)
	case "Publish":
		return s.publishRequest(r)
	default:
		return nil, wire.Unknown(r)
	}
}

func invalid(format string, args ...any) error {
	return &wire.Error{Code: "InvalidParameter", Message: "Invalid parameter: " + fmt.Sprintf(format, args...)}
}

func notFound(what string) error {
	return &wire.Error{Code: "NotFound", Message: what + " does not exist", Status: http.StatusNotFound}
}

// topic finds a topic by ARN. The caller holds mu.
func (s *Service) topic(arn string) (*topic, error) {
	if t, ok := s.topics[arn]; ok {
		return t, nil
	}
	if !strings.HasPrefix(arn, "arn:aws:sns:") || strings.Count(arn, ":") != 5 {
		return nil, invalid("TopicArn Reason: An ARN must have at least 6 elements, not %d", strings.Count(arn, ":")+1)
	}
	return nil, notFound("Topic")
}

func (s *Service) subscription(arn string) (*subscription, error) {
	if sub, ok := s.subs[arn]; ok {
		return sub, nil
	}
	return nil, notFound("Subscription")
}

// after returns the subscriptions made after the one of that number.
func (t *topic) after(seq int) []*subscription {
	i, _ := slices.BinarySearchFunc(t.subs, seq+1, func(sub *subscription, seq int) int { return sub.seq - seq })
	return t.subs[i:]
}
