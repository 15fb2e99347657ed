package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
)

const eventPattern = `{"source":["rotatessh"],"detail-type":["SSH Keyset Published"]}`

// wireEvents leads the keyset events of the default bus to the workers' topic.
func (c *cluster) wireEvents(t *testing.T) {
	t.Helper()
	topics, events := sns.NewFromConfig(c.cfg), eventbridge.NewFromConfig(c.cfg)
	topic, err := topics.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("rotatessh-keyset-published")})
	if err != nil {
		t.Fatal(err)
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},`+
		`"Action":"sns:Publish","Resource":%q}]}`, aws.ToString(topic.TopicArn))
	_, err = topics.SetTopicAttributes(t.Context(), &sns.SetTopicAttributesInput{TopicArn: topic.TopicArn, AttributeName: aws.String("Policy"), AttributeValue: &policy})
	if err == nil {
		_, err = events.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: aws.String("published"), EventPattern: aws.String(eventPattern)})
	}
	if err == nil {
		_, err = events.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: aws.String("published"), Targets: []types.Target{{Id: aws.String("topic"), Arn: topic.TopicArn}}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tell puts the event of a document on the default bus.
func (c *cluster) tell(t *testing.T, doc keystore.Document) {
	t.Helper()
	detail := fmt.Sprintf(`{"secretArn":%q,"keysetArn":%q,"generation":%d,"keysetVersionId":%q}`, secretARN, doc.ARN, doc.Keyset.Generation, doc.VersionID)
	_, err := eventbridge.NewFromConfig(c.cfg).PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		Source: aws.String("rotatessh"), DetailType: aws.String("SSH Keyset Published"), Detail: &detail,
	}}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEventReachesTheWorkerThroughItsQueue(t *testing.T) {
	c := newCluster(t)
	c.wireEvents(t)
	w := c.newWorker(t, "beacon: {interval: 24h}", "subscription: {enabled: true}")
	first, p := synced(t, w)
	p.logged(t, "listening to the queue", 1)
	second := sshdtest.NewPair(t)
	doc := c.publish(t, keyset.Keyset{Generation: 2, Keys: []keyset.Key{key(keyset.Current, first, 1), key(keyset.Pending, second, 2)}})
	begun := time.Now()
	c.tell(t, doc)
	c.ack(t, w.instance.ARN, accepted(2, first, second))
	t.Logf("acknowledged %v after the event", time.Since(begun).Round(time.Millisecond))
}
