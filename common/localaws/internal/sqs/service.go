// Package sqs is the SQS of localaws: standard queues with long polling, visibility timeouts and queue policies.
//
// It promises that a receive waits as long as AWS's would and no longer, that a message stays hidden for its timeout and comes back
// after it, and that a service delivers only what the queue's policy lets it. It has no FIFO queues and no dead-letter queues and
// refuses requests for them. It speaks the JSON protocol and, for older clients, the query protocol.
package sqs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Deps is what the service needs from others.
type Deps struct {
	Region, Account string
	Log             *zap.Logger
	// Record is told every body that was sent or delivered to a queue; nil for nobody.
	Record func(body string)
}

// Service holds all queues. It implements wire.Handler and is safe for concurrent use.
type Service struct {
	deps    Deps
	log     *zap.Logger
	mu      sync.Mutex
	queues  map[string]*queue // by name
	deleted map[string]time.Time
	// names caches the sorted names for ListQueues; nil when a queue has come or gone since.
	names   []string
	dropped int
}

var _ wire.Handler = (*Service)(nil)

// New makes a service without queues.
func New(d Deps) *Service {
	if d.Record == nil {
		d.Record = func(string) {}
	}
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	return &Service{deps: d, log: d.Log, queues: map[string]*queue{}, deleted: map[string]time.Time{}}
}

// Handle answers one call. ReceiveMessage may take 20 seconds; it ends at once with ctx.
func (s *Service) Handle(ctx context.Context, r *wire.Request) (any, error) {
	switch r.Action {
	case "CreateQueue":
		return call(r, s.createQueue)
	case "GetQueueUrl":
		return call(r, s.getQueueURL)
	case "GetQueueAttributes":
		return call(r, s.getQueueAttributes)
	case "SetQueueAttributes":
		return call(r, s.setQueueAttributes)
	case "ListQueues":
		return call(r, s.listQueues)
	case "DeleteQueue":
		return call(r, s.deleteQueue)
	case "PurgeQueue":
		return call(r, s.purgeQueue)
	case "TagQueue":
		return call(r, s.tagQueue)
	case "UntagQueue":
		return call(r, s.untagQueue)
	case "ListQueueTags":
		return call(r, s.listQueueTags)
	case "SendMessage":
		return call(r, s.sendMessage)
	case "SendMessageBatch":
		return call(r, s.sendMessageBatch)
	case "ReceiveMessage":
		return call(r, func(r *wire.Request, in *receiveInput) (any, error) { return s.receiveMessage(ctx, r, in) })
	case "DeleteMessage":
		return call(r, s.deleteMessage)
	case "DeleteMessageBatch":
		return call(r, s.deleteMessageBatch)
	case "ChangeMessageVisibility":
		return call(r, s.changeMessageVisibility)
	default:
		return nil, wire.Unknown(r)
	}
}

// call decodes the request, whatever its protocol, and runs one operation.
func call[In any](r *wire.Request, operation func(*wire.Request, *In) (any, error)) (any, error) {
	body := r.Body
	if r.Protocol == wire.Query {
		body = fromForm(r.Form)
	}
	in := new(In)
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		return nil, &wire.Error{Code: "SerializationException", Message: "localaws cannot read the input of " + r.Action + ": " + err.Error()}
	}
	return operation(r, in)
}

// byURL finds the queue of a QueueUrl; hosts do not count, since clients reach the service under several. The caller holds mu.
func (s *Service) byURL(url string) (*queue, error) {
	parts := strings.Split(url, "/")
	if len(parts) < 2 || url == "" {
		return nil, invalid("InvalidAddress", fmt.Sprintf("The address %s is not valid for this endpoint.", url))
	}
	q, ok := s.queues[parts[len(parts)-1]]
	if !ok || parts[len(parts)-2] != s.deps.Account {
		return nil, noQueue()
	}
	return q, nil
}

func noQueue() error {
	return &wire.Error{
		Code: "QueueDoesNotExist", QueryCode: "AWS.SimpleQueueService.NonExistentQueue", Message: "The specified queue does not exist.",
	}
}

func invalid(code, message string) error {
	return &wire.Error{Code: code, Message: message}
}

func invalidValue(parameter string, value any, reason string) error {
	return invalid("InvalidParameterValue", fmt.Sprintf("Value %v for parameter %s is invalid. Reason: %s.", value, parameter, reason))
}

func (s *Service) arn(name string) string {
	return "arn:aws:sqs:" + s.deps.Region + ":" + s.deps.Account + ":" + name
}

func (s *Service) url(r *wire.Request, name string) string {
	return "http://" + r.Host + "/" + s.deps.Account + "/" + name
}
