package sqs

import (
	"context"
	"crypto/md5" //nolint:gosec // the protocol's checksum, no secret hangs on it
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// maxWait and maxReceive bound a ReceiveMessage.
const (
	maxWait    = 20
	maxReceive = 10
)

type sendInput struct {
	QueueUrl string
	outgoing
}

// outgoing is what SendMessage and an entry of SendMessageBatch share.
type outgoing struct {
	MessageBody       string
	DelaySeconds      *int
	MessageAttributes map[string]Attribute
}

type sendOutput struct {
	MessageId              string
	MD5OfMessageBody       string
	MD5OfMessageAttributes string `json:",omitempty" xml:",omitempty"`
}

func (s *Service) sendMessage(r *wire.Request, in *sendInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return s.send(q, in.outgoing, senderID(r.Principal))
}

func (s *Service) send(q *queue, in outgoing, sender string) (sendOutput, error) {
	delay := q.seconds("DelaySeconds")
	if in.DelaySeconds != nil {
		if *in.DelaySeconds < 0 || *in.DelaySeconds > 900 {
			return sendOutput{}, invalidValue("DelaySeconds", *in.DelaySeconds, "DelaySeconds must be >= 0 and <= 900")
		}
		delay = time.Duration(*in.DelaySeconds) * time.Second
	}
	if err := checkBody(q, in); err != nil {
		return sendOutput{}, err
	}
	m := &message{body: in.MessageBody, md5: md5Hex(in.MessageBody), attributes: in.MessageAttributes, sent: time.Now(), sender: sender}
	q.add(m, delay)
	s.deps.Record(m.body)
	return sendOutput{m.id, m.md5, md5OfAttributes(in.MessageAttributes)}, nil
}

func checkBody(q *queue, in outgoing) error {
	size := len(in.MessageBody)
	for name, a := range in.MessageAttributes {
		size += len(name) + len(a.DataType) + len(a.value())
	}
	switch limit := q.number("MaximumMessageSize"); {
	case in.MessageBody == "":
		return invalid("MissingParameter", "The request must contain the parameter MessageBody.")
	case size > limit:
		return invalidValue("MessageBody", "", "Message must be shorter than the queue's MaximumMessageSize")
	case !validXML(in.MessageBody):
		return invalid("InvalidMessageContents", "Invalid characters found in the message body.")
	default:
		return nil
	}
}

// validXML reports whether s has only the characters that SQS lets through: those of XML 1.0.
func validXML(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	}) < 0
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}

// senderID is what AWS's SenderId shows: a user, or a role with its session, which is an instance's id for an instance's role.
func senderID(p wire.Principal) string {
	switch {
	case p.Worker != "":
		return "AROAWORKEREXAMPLE:" + lastPart(p.Worker)
	case p.Function != "":
		return "AROAFUNCTIONEXAMPLE:" + p.Function
	default:
		return "AIDAOPERATOREXAMPLE"
	}
}

func lastPart(s string) string { return s[strings.LastIndex(s, "/")+1:] }

type receiveInput struct {
	QueueUrl                    string
	AttributeNames              []string
	MessageSystemAttributeNames []string
	MessageAttributeNames       []string
	MaxNumberOfMessages         *int
	VisibilityTimeout           *int
	WaitTimeSeconds             *int
	ReceiveRequestAttemptId     string
}

type receiveOutput struct {
	Messages []received `json:",omitempty" xml:"Message"`
}

// receiveMessage waits until there is a message, the wait is over, the queue is deleted or ctx ends. When ctx ends nothing is taken.
func (s *Service) receiveMessage(ctx context.Context, _ *wire.Request, in *receiveInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	p, err := in.params(q)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(p.wait)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out, err := q.receive(in, p)
		if err != nil || len(out.Messages) > 0 || !time.Now().Before(deadline) {
			return out, err
		}
		s.await(ctx, q, deadline)
		if q.gone {
			return nil, noQueue()
		}
	}
}

// await gives up mu until there may be a message, at the latest until deadline or the end of ctx.
func (s *Service) await(ctx context.Context, q *queue, deadline time.Time) {
	changed := q.changed
	if len(q.hidden) > 0 && q.hidden[0].visibleAt.Before(deadline) {
		deadline = q.hidden[0].visibleAt
	}
	q.waiting++
	defer func() { q.waiting-- }()
	s.mu.Unlock()
	defer s.mu.Lock()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// receiveParams are the checked numbers of a receive.
type receiveParams struct {
	count         int
	wait, timeout time.Duration
}

func (in *receiveInput) params(q *queue) (receiveParams, error) {
	p := receiveParams{count: 1, wait: q.seconds("ReceiveMessageWaitTimeSeconds"), timeout: q.seconds("VisibilityTimeout")}
	if n := in.MaxNumberOfMessages; n != nil {
		if *n < 1 || *n > maxReceive {
			return p, invalidValue("MaxNumberOfMessages", *n, "Must be between 1 and 10, if provided")
		}
		p.count = *n
	}
	if n := in.WaitTimeSeconds; n != nil {
		if *n < 0 || *n > maxWait {
			return p, invalidValue("WaitTimeSeconds", *n, "Must be >= 0 and <= 20, if provided")
		}
		p.wait = time.Duration(*n) * time.Second
	}
	if n := in.VisibilityTimeout; n != nil {
		timeout, err := visibility(*n)
		if err != nil {
			return p, err
		}
		p.timeout = timeout
	}
	return p, nil
}

func visibility(seconds int) (time.Duration, error) {
	if seconds < 0 || seconds > 43200 {
		return 0, invalidValue("VisibilityTimeout", seconds, "Must be between 0 and 43200")
	}
	return time.Duration(seconds) * time.Second, nil
}

func (q *queue) receive(in *receiveInput, p receiveParams) (receiveOutput, error) {
	if q.inFlight >= maxInFlight {
		return receiveOutput{}, &wire.Error{Code: "OverLimit", QueryCode: "OverLimit", Message: "Too many messages of this queue are in flight."}
	}
	var out receiveOutput
	now := time.Now()
	for len(out.Messages) < p.count {
		m := q.take(now, p.timeout)
		if m == nil {
			break
		}
		out.Messages = append(out.Messages, q.received(m, in))
	}
	return out, nil
}
