package sns

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/policy"
	"github.com/rotatessh/rotatessh/common/localaws/internal/sqs"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// maxMessage is how large a message with its attributes may be, in bytes.
const maxMessage = 256 << 10

// ErrDenied means that a topic's policy does not let a service publish.
var ErrDenied = errors.New("denied by the topic's policy")

// Message is what is published.
type Message struct {
	TopicARN, Subject, Text string
	Attributes              map[string]sqs.Attribute
}

type publishXML struct {
	MessageId string
}

func (s *Service) publishRequest(r *wire.Request) (any, error) {
	m := Message{TopicARN: r.Form.Get("TopicArn"), Subject: r.Form.Get("Subject"), Text: r.Form.Get("Message")}
	if m.TopicARN == "" {
		m.TopicARN = r.Form.Get("TargetArn")
	}
	if r.Form.Get("MessageStructure") != "" {
		return nil, invalid("MessageStructure: localaws sends one text to all")
	}
	var err error
	if m.Attributes, err = messageAttributes(r.Form); err != nil {
		return nil, err
	}
	id, err := s.publish(m)
	return publishXML{id}, err
}

// PublishFrom publishes for an AWS service, by its principal and the ARN on whose behalf, if the topic's policy lets it.
func (s *Service) PublishFrom(service, sourceARN string, m Message) error {
	s.mu.RLock()
	t, err := s.topic(m.TopicARN)
	allowed := err == nil && t.policy.Allows(policy.Request{
		Service: service, Action: "sns:Publish", Resource: t.arn, SourceARN: sourceARN, Account: s.deps.Account,
	})
	s.mu.RUnlock()
	switch {
	case err != nil:
		return err
	case !allowed:
		return ErrDenied
	}
	_, err = s.publish(m)
	return err
}

// publish delivers to every subscription that stands now and returns the message's id.
func (s *Service) publish(m Message) (string, error) {
	if err := m.check(); err != nil {
		return "", err
	}
	s.mu.RLock()
	t, err := s.topic(m.TopicARN)
	if err != nil {
		s.mu.RUnlock()
		return "", err
	}
	subs := t.subs
	s.mu.RUnlock()
	id, now := wire.NewUUID(), time.Now()
	for _, sub := range subs {
		d := sqs.Delivery{QueueARN: sub.endpoint, Service: "sns.amazonaws.com", SourceARN: m.TopicARN, Body: m.Text, Attributes: m.Attributes}
		if !sub.raw {
			d.Body, d.Attributes = s.envelope(sub, id, m, now), nil
		}
		_ = s.deps.Deliver(d) // what a queue does not take is lost, and the queue's side has logged it
	}
	return id, nil
}

func (m Message) check() error {
	size := len(m.Text)
	for name, a := range m.Attributes {
		size += len(name) + len(a.DataType) + len(a.StringValue) + len(a.BinaryValue)
	}
	switch {
	case m.Text == "":
		return invalid("Empty message")
	case size > maxMessage:
		return invalid("Message too long")
	case len(m.Subject) > 100:
		return invalid("Subject")
	default:
		return nil
	}
}

// notification is the envelope of a delivery that is not raw.
type notification struct {
	Type              string
	MessageId         string
	TopicArn          string
	Subject           string `json:",omitempty"`
	Message           string
	Timestamp         string
	SignatureVersion  string
	Signature         string
	SigningCertURL    string
	UnsubscribeURL    string
	MessageAttributes map[string]attributeJSON `json:",omitempty"`
}

type attributeJSON struct{ Type, Value string }

// envelope has every member that AWS's has; the signature is none.
func (s *Service) envelope(sub *subscription, id string, m Message, now time.Time) string {
	host := "https://sns." + s.deps.Region + ".amazonaws.com/"
	n := notification{
		Type: "Notification", MessageId: id, TopicArn: m.TopicARN, Subject: m.Subject, Message: m.Text,
		Timestamp: now.UTC().Format("2006-01-02T15:04:05.000Z"), SignatureVersion: "1",
		Signature:      base64.StdEncoding.EncodeToString([]byte("localaws signs nothing")),
		SigningCertURL: host + "SimpleNotificationService-localaws.pem", UnsubscribeURL: host + "?Action=Unsubscribe&SubscriptionArn=" + sub.arn,
	}
	for name, a := range m.Attributes {
		if n.MessageAttributes == nil {
			n.MessageAttributes = map[string]attributeJSON{}
		}
		n.MessageAttributes[name] = attributeJSON{a.DataType, a.StringValue + base64.StdEncoding.EncodeToString(a.BinaryValue)}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(n); err != nil {
		return fmt.Sprint(err) // strings always marshal
	}
	return string(bytes.TrimSpace(b.Bytes()))
}
