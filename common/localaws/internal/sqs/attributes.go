package sqs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/policy"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// bounds are a numeric attribute's limits and its default.
type bounds struct{ low, high, initial int }

func numericAttribute(name string) (bounds, bool) {
	b, ok := map[string]bounds{
		"DelaySeconds":                  {0, 900, 0},
		"MaximumMessageSize":            {1024, 1 << 20, 1 << 20},
		"MessageRetentionPeriod":        {60, 1209600, 345600},
		"ReceiveMessageWaitTimeSeconds": {0, 20, 0},
		"VisibilityTimeout":             {0, 43200, 30},
		"KmsDataKeyReusePeriodSeconds":  {60, 86400, 300},
	}[name]
	return b, ok
}

// number is a numeric attribute's present value.
func (q *queue) number(name string) int {
	if set, ok := q.settings[name]; ok {
		n, _ := strconv.Atoi(set) // checked when it was set
		return n
	}
	b, _ := numericAttribute(name)
	return b.initial
}

func (q *queue) seconds(name string) time.Duration {
	return time.Duration(q.number(name)) * time.Second
}

// checkAttributes refuses what cannot be set, before anything is.
func checkAttributes(attributes map[string]string) error {
	for name, value := range attributes {
		if err := checkAttribute(name, value); err != nil {
			return err
		}
	}
	return nil
}

func checkAttribute(name, value string) error {
	bad := invalid("InvalidAttributeValue", "Invalid value for the parameter "+name+".")
	if b, ok := numericAttribute(name); ok {
		n, err := strconv.Atoi(value)
		if err != nil || n < b.low || n > b.high {
			return bad
		}
		return nil
	}
	switch name {
	case "Policy":
		if _, err := policy.Parse(value); err != nil {
			return bad
		}
	case "KmsMasterKeyId", "SqsManagedSseEnabled":
	case "FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit", "RedrivePolicy", "RedriveAllowPolicy":
		return invalid("UnsupportedOperation", "localaws has neither FIFO nor dead-letter queues: "+name)
	default:
		return unknownAttribute(name)
	}
	return nil
}

func unknownAttribute(name string) error {
	return invalid("InvalidAttributeName", "Unknown Attribute "+name+".")
}

// set stores checked attributes.
func (q *queue) set(attributes map[string]string) {
	maps.Copy(q.settings, attributes)
	q.policy, _ = policy.Parse(q.settings["Policy"]) // checked before
	if q.settings["Policy"] == "" {
		delete(q.settings, "Policy")
	}
}

type setAttributesInput struct {
	QueueUrl   string
	Attributes map[string]string
}

func (s *Service) setQueueAttributes(_ *wire.Request, in *setAttributesInput) (any, error) {
	if err := checkAttributes(in.Attributes); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	q.set(in.Attributes)
	q.modified = time.Now()
	return nil, nil
}

type getAttributesInput struct {
	QueueUrl       string
	AttributeNames []string
}

type getAttributesOutput struct {
	Attributes attributeMap `json:",omitempty" xml:"Attribute"`
}

func (s *Service) getQueueAttributes(_ *wire.Request, in *getAttributesInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	all := q.describe(time.Now())
	if slices.Contains(in.AttributeNames, "All") {
		return getAttributesOutput{all}, nil
	}
	chosen := attributeMap{}
	for _, name := range in.AttributeNames {
		value, ok := all[name]
		switch {
		case ok:
			chosen[name] = value
		case !optional(name):
			return nil, unknownAttribute(name)
		}
	}
	return getAttributesOutput{chosen}, nil
}

// optional reports whether name is an attribute that a queue may be without.
func optional(name string) bool {
	switch name {
	case "Policy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "RedrivePolicy", "RedriveAllowPolicy",
		"FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit":
		return true
	default:
		return false
	}
}

func (q *queue) describe(now time.Time) attributeMap {
	visible, inFlight, delayed := q.counts(now)
	out := attributeMap{
		"QueueArn":                              q.arn,
		"CreatedTimestamp":                      strconv.FormatInt(q.created.Unix(), 10),
		"LastModifiedTimestamp":                 strconv.FormatInt(q.modified.Unix(), 10),
		"ApproximateNumberOfMessages":           strconv.Itoa(visible),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(inFlight),
		"ApproximateNumberOfMessagesDelayed":    strconv.Itoa(delayed),
		"SqsManagedSseEnabled":                  "true",
	}
	for _, name := range []string{"DelaySeconds", "MaximumMessageSize", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds", "VisibilityTimeout"} {
		out[name] = fmt.Sprint(q.number(name))
	}
	maps.Copy(out, q.settings)
	return out
}
