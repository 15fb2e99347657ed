package sns

import (
	"slices"
	"strconv"
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

type subscribeXML struct {
	SubscriptionArn string
}

func (s *Service) subscribe(r *wire.Request) (any, error) {
	endpoint, attributes := r.Form.Get("Endpoint"), entries(r.Form, "Attributes")
	switch {
	case r.Form.Get("Protocol") != "sqs":
		return nil, invalid("Protocol Reason: localaws delivers to sqs only")
	case !strings.HasPrefix(endpoint, "arn:aws:sqs:") || strings.Count(endpoint, ":") != 5:
		return nil, invalid("SQS endpoint ARN")
	}
	raw := false
	for name, value := range attributes {
		var err error
		if raw, err = rawDelivery(name, value); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.topic(r.Form.Get("TopicArn"))
	if err != nil {
		return nil, err
	}
	if sub, ok := t.byEndpoint[endpoint]; ok {
		if len(attributes) > 0 && sub.raw != raw {
			return nil, invalid("Attributes Reason: Subscription already exists with different attributes")
		}
		return subscribeXML{sub.arn}, nil
	}
	s.last++
	sub := &subscription{arn: t.arn + ":" + wire.NewUUID(), endpoint: endpoint, topic: t, raw: raw, seq: s.last}
	t.subs = append(t.subs, sub)
	t.byEndpoint[endpoint], s.subs[sub.arn] = sub, sub
	return subscribeXML{sub.arn}, nil
}

// rawDelivery reads the one attribute of subscriptions that localaws has.
func rawDelivery(name, value string) (bool, error) {
	if name != "RawMessageDelivery" {
		return false, invalid("Attributes Reason: localaws has no subscription attribute %s", name)
	}
	raw, err := strconv.ParseBool(value)
	if err != nil || value != strconv.FormatBool(raw) {
		return false, invalid("Attributes Reason: RawMessageDelivery: Invalid value [%s]. Must be true or false.", value)
	}
	return raw, nil
}

// unsubscribe succeeds for a subscription that is not there.
func (s *Service) unsubscribe(r *wire.Request) (any, error) {
	arn := r.Form.Get("SubscriptionArn")
	if strings.Count(arn, ":") != 6 {
		return nil, invalid("SubscriptionArn Reason: An ARN must have at least 6 elements")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, ok := s.subs[arn]
	if !ok {
		return nil, nil
	}
	t := sub.topic
	i := len(t.subs) - len(t.after(sub.seq-1))
	// A publication may be walking over the old slice.
	t.subs = slices.Delete(slices.Clone(t.subs), i, i+1)
	delete(t.byEndpoint, sub.endpoint)
	delete(s.subs, arn)
	t.removed++
	return nil, nil
}

func (s *Service) getSubscriptionAttributes(r *wire.Request) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sub, err := s.subscription(r.Form.Get("SubscriptionArn"))
	if err != nil {
		return nil, err
	}
	return attributesOutput{attributesXML{
		"SubscriptionArn": sub.arn, "TopicArn": sub.topic.arn, "Protocol": "sqs", "Endpoint": sub.endpoint, "Owner": s.deps.Account,
		"RawMessageDelivery": strconv.FormatBool(sub.raw), "PendingConfirmation": "false", "ConfirmationWasAuthenticated": "true",
	}}, nil
}

func (s *Service) setSubscriptionAttributes(r *wire.Request) (any, error) {
	raw, err := rawDelivery(r.Form.Get("AttributeName"), r.Form.Get("AttributeValue"))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, err := s.subscription(r.Form.Get("SubscriptionArn"))
	if err != nil {
		return nil, err
	}
	changed := *sub
	changed.raw = raw
	t := sub.topic
	i := len(t.subs) - len(t.after(sub.seq-1))
	t.subs = slices.Clone(t.subs)
	t.subs[i], t.byEndpoint[sub.endpoint], s.subs[sub.arn] = &changed, &changed, &changed
	return nil, nil
}

type subscriptionXML struct {
	SubscriptionArn, Owner, Protocol, Endpoint, TopicArn string
}

type listSubscriptionsXML struct {
	Subscriptions []subscriptionXML `xml:"Subscriptions>member"`
	NextToken     string            `xml:",omitempty"`
}

func (s *Service) listSubscriptionsByTopic(r *wire.Request) (any, error) {
	after, err := page(r.Form)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.topic(r.Form.Get("TopicArn"))
	if err != nil {
		return nil, err
	}
	var out listSubscriptionsXML
	for _, sub := range t.after(after) {
		if len(out.Subscriptions) == pageSize {
			out.NextToken = strconv.Itoa(after)
			break
		}
		out.Subscriptions = append(out.Subscriptions, subscriptionXML{sub.arn, s.deps.Account, "sqs", sub.endpoint, t.arn})
		after = sub.seq
	}
	return out, nil
}
