package sqs

import (
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/localaws/internal/policy"
)

// Reasons for which a service's delivery is dropped.
var (
	ErrNoQueue = errors.New("no such queue")
	ErrDenied  = errors.New("denied by the queue's policy")
)

// Delivery is a message that an AWS service puts into a queue.
type Delivery struct {
	QueueARN   string
	Service    string // sns.amazonaws.com or events.amazonaws.com
	SourceARN  string // the topic or rule on whose behalf
	Body       string
	Attributes map[string]Attribute
}

// Deliver puts a service's message into a queue if the queue's policy lets it. Otherwise the message is dropped, logged and counted,
// and the error is ErrNoQueue, ErrDenied or says what is wrong with the message.
func (s *Service) Deliver(d Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.deliver(d)
	if err != nil {
		s.dropped++
		s.log.Warn("delivery to queue dropped", zap.String("queue", d.QueueARN), zap.String("source", d.SourceARN), zap.Error(err))
	}
	return err
}

func (s *Service) deliver(d Delivery) error {
	q, ok := s.queues[d.QueueARN[strings.LastIndex(d.QueueARN, ":")+1:]]
	if !ok || q.arn != d.QueueARN {
		return ErrNoQueue
	}
	if !q.policy.Allows(policy.Request{
		Service: d.Service, Action: "sqs:SendMessage", Resource: q.arn, SourceARN: d.SourceARN, Account: s.deps.Account,
	}) {
		return ErrDenied
	}
	if _, err := s.send(q, outgoing{MessageBody: d.Body, MessageAttributes: d.Attributes}, "AIDASERVICEEXAMPLE"); err != nil {
		return fmt.Errorf("delivering to %q: %w", d.QueueARN, err)
	}
	return nil
}

// Dropped is how many deliveries have been dropped so far.
func (s *Service) Dropped() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}
