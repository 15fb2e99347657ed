package sqs

import (
	"container/heap"
	"errors"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

const maxBatch = 10

type deleteInput struct{ QueueUrl, ReceiptHandle string }

func (s *Service) deleteMessage(_ *wire.Request, in *deleteInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return nil, q.delete(in.ReceiptHandle)
}

func (q *queue) delete(handle string) error {
	m, err := q.byHandle(handle)
	if m != nil {
		q.forget(m)
	}
	return err
}

type changeVisibilityInput struct {
	QueueUrl, ReceiptHandle string
	VisibilityTimeout       int
}

func (s *Service) changeMessageVisibility(_ *wire.Request, in *changeVisibilityInput) (any, error) {
	timeout, err := visibility(in.VisibilityTimeout)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	q.refresh(time.Now())
	m, err := q.byHandle(in.ReceiptHandle)
	switch {
	case err != nil:
		return nil, err
	case m == nil || !m.inFlight:
		return nil, &wire.Error{
			Code: "MessageNotInflight", QueryCode: "AWS.SimpleQueueService.MessageNotInflight", Message: "The specified message isn't in flight.",
		}
	}
	m.visibleAt = time.Now().Add(timeout)
	heap.Fix(&q.hidden, m.index)
	q.wake()
	return nil, nil
}

// failure is an entry of a batch that was refused.
type failure struct {
	Id          string
	SenderFault bool
	Code        string
	Message     string
}

func newFailure(id string, err error) failure {
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		return failure{id, false, "InternalError", err.Error()}
	}
	return failure{id, true, e.Code, e.Message}
}

// checkBatch refuses a batch as a whole.
func checkBatch(ids []string) error {
	batchError := func(code, message string) error {
		return &wire.Error{Code: code, QueryCode: "AWS.SimpleQueueService." + code, Message: message}
	}
	switch {
	case len(ids) == 0:
		return batchError("EmptyBatchRequest", "There should be at least one entry in the request.")
	case len(ids) > maxBatch:
		return batchError("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10.")
	}
	seen := map[string]bool{}
	for _, id := range ids {
		if !namePattern.MatchString(id) {
			return batchError("InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		}
		if seen[id] {
			return batchError("BatchEntryIdsNotDistinct", "Id "+id+" repeated.")
		}
		seen[id] = true
	}
	return nil
}

type deleteEntry struct{ Id, ReceiptHandle string }

type deleteBatchInput struct {
	QueueUrl string
	Entries  []deleteEntry
}

type deleted struct{ Id string }

type deleteBatchOutput struct {
	Successful []deleted `xml:"DeleteMessageBatchResultEntry"`
	Failed     []failure `xml:"BatchResultErrorEntry"`
}

func (s *Service) deleteMessageBatch(_ *wire.Request, in *deleteBatchInput) (any, error) {
	ids := make([]string, len(in.Entries))
	for i, e := range in.Entries {
		ids[i] = e.Id
	}
	if err := checkBatch(ids); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	out := deleteBatchOutput{Successful: []deleted{}, Failed: []failure{}}
	for _, e := range in.Entries {
		if err := q.delete(e.ReceiptHandle); err != nil {
			out.Failed = append(out.Failed, newFailure(e.Id, err))
			continue
		}
		out.Successful = append(out.Successful, deleted{e.Id})
	}
	return out, nil
}

type sendEntry struct {
	Id string
	outgoing
}

type sendBatchInput struct {
	QueueUrl string
	Entries  []sendEntry
}

type sent struct {
	Id string
	sendOutput
}

type sendBatchOutput struct {
	Successful []sent    `xml:"SendMessageBatchResultEntry"`
	Failed     []failure `xml:"BatchResultErrorEntry"`
}

func (s *Service) sendMessageBatch(r *wire.Request, in *sendBatchInput) (any, error) {
	ids := make([]string, len(in.Entries))
	for i, e := range in.Entries {
		ids[i] = e.Id
	}
	if err := checkBatch(ids); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	out := sendBatchOutput{Successful: []sent{}, Failed: []failure{}}
	for _, e := range in.Entries {
		one, err := s.send(q, e.outgoing, senderID(r.Principal))
		if err != nil {
			out.Failed = append(out.Failed, newFailure(e.Id, err))
			continue
		}
		out.Successful = append(out.Successful, sent{e.Id, one})
	}
	return out, nil
}
