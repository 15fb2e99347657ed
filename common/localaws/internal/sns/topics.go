package sns

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/rotatessh/rotatessh/common/localaws/internal/policy"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// pageSize is how many topics or subscriptions one answer lists.
const pageSize = 100

var topicPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

type topicXML struct {
	TopicArn string
}

func (s *Service) createTopic(r *wire.Request) (any, error) {
	name, attributes := r.Form.Get("Name"), entries(r.Form, "Attributes")
	if !topicPattern.MatchString(name) {
		return nil, invalid("Topic Name")
	}
	for k, v := range attributes {
		if err := checkTopicAttribute(k, v); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	arn := "arn:aws:sns:" + s.deps.Region + ":" + s.deps.Account + ":" + name
	t, ok := s.topics[arn]
	if !ok {
		t = &topic{name: name, arn: arn, settings: map[string]string{}, byEndpoint: map[string]*subscription{}}
		s.topics[arn] = t
		t.set(attributes)
		return topicXML{arn}, nil
	}
	for k, v := range attributes {
		if t.settings[k] != v {
			return nil, invalid("Attributes Reason: Topic already exists with different attributes")
		}
	}
	return topicXML{arn}, nil
}

func checkTopicAttribute(name, value string) error {
	switch name {
	case "Policy":
		if _, err := policy.Parse(value); err != nil {
			return invalid("Policy Error: null")
		}
		return nil
	case "DisplayName", "KmsMasterKeyId", "TracingConfig", "SignatureVersion", "DeliveryPolicy":
		return nil
	default:
		return invalid("AttributeName: localaws has no topic attribute %s", name)
	}
}

// set stores checked attributes.
func (t *topic) set(attributes map[string]string) {
	maps.Copy(t.settings, attributes)
	t.policy, _ = policy.Parse(t.settings["Policy"]) // checked before
}

// deleteTopic succeeds for a topic that is not there.
func (s *Service) deleteTopic(r *wire.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.topics[r.Form.Get("TopicArn")]
	if !ok {
		return nil, nil
	}
	for _, sub := range t.subs {
		delete(s.subs, sub.arn)
	}
	delete(s.topics, t.arn)
	return nil, nil
}

type listTopicsXML struct {
	Topics    []topicXML `xml:"Topics>member"`
	NextToken string     `xml:",omitempty"`
}

func (s *Service) listTopics(r *wire.Request) (any, error) {
	from, err := page(r.Form)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	arns := slices.Sorted(maps.Keys(s.topics))
	s.mu.RUnlock()
	from = min(from, len(arns))
	to := min(from+pageSize, len(arns))
	var out listTopicsXML
	for _, arn := range arns[from:to] {
		out.Topics = append(out.Topics, topicXML{arn})
	}
	if to < len(arns) {
		out.NextToken = strconv.Itoa(to)
	}
	return out, nil
}

type attributesOutput struct {
	Attributes attributesXML
}

func (s *Service) getTopicAttributes(r *wire.Request) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.topic(r.Form.Get("TopicArn"))
	if err != nil {
		return nil, err
	}
	out := attributesXML{
		"TopicArn": t.arn, "Owner": s.deps.Account, "DisplayName": "", "Policy": defaultPolicy(t.arn, s.deps.Account),
		"SubscriptionsConfirmed": strconv.Itoa(len(t.subs)), "SubscriptionsPending": "0", "SubscriptionsDeleted": strconv.Itoa(t.removed),
	}
	maps.Copy(out, t.settings)
	return attributesOutput{out}, nil
}

// defaultPolicy lets the owner do everything. It lets no service publish.
func defaultPolicy(arn, account string) string {
	doc, err := json.Marshal(map[string]any{
		"Version": "2008-10-17", "Id": "__default_policy_ID",
		"Statement": []any{map[string]any{
			"Sid": "__default_statement_ID", "Effect": "Allow", "Principal": map[string]string{"AWS": "*"},
			"Action": []string{
				"SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission",
				"SNS:DeleteTopic", "SNS:Subscribe", "SNS:ListSubscriptionsByTopic", "SNS:Publish",
			},
			"Resource": arn, "Condition": map[string]any{"StringEquals": map[string]string{"AWS:SourceOwner": account}},
		}},
	})
	if err != nil {
		return "" // maps of strings always marshal
	}
	return string(doc)
}

func (s *Service) setTopicAttributes(r *wire.Request) (any, error) {
	name, value := r.Form.Get("AttributeName"), r.Form.Get("AttributeValue")
	if err := checkTopicAttribute(name, value); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.topic(r.Form.Get("TopicArn"))
	if err != nil {
		return nil, err
	}
	t.set(map[string]string{name: value})
	return nil, nil
}
