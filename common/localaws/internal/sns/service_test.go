package sns_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	sqssdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/rotatessh/rotatessh/common/localaws/internal/sns"
	"github.com/rotatessh/rotatessh/common/localaws/internal/sqs"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wiretest"
)

type fixture struct {
	*sdk.Client
	t        testing.TB
	sqs      *sqssdk.Client
	service  *sns.Service
	topicARN *string
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	queues := sqs.New(sqs.Deps{Region: wiretest.Region, Account: wiretest.Account})
	topics := sns.New(sns.Deps{Region: wiretest.Region, Account: wiretest.Account, Deliver: queues.Deliver})
	cfg := wiretest.Serve(t, map[string]wire.Handler{"sqs": queues, "sns": topics})
	f := &fixture{Client: sdk.NewFromConfig(cfg), t: t, sqs: sqssdk.NewFromConfig(cfg), service: topics}
	f.topicARN = f.topic("published")
	return f
}

func (f *fixture) topic(name string) *string {
	f.t.Helper()
	out, err := f.CreateTopic(f.t.Context(), &sdk.CreateTopicInput{Name: &name})
	if err != nil {
		f.t.Fatal(err)
	}
	return out.TopicArn
}

// queue makes a queue; unless source is "" its policy lets the topic of that ARN send.
func (f *fixture) queue(name, source string) (url *string, arn string) {
	f.t.Helper()
	arn = "arn:aws:sqs:us-east-1:111122223333:" + name
	in := &sqssdk.CreateQueueInput{QueueName: &name}
	if source != "" {
		in.Attributes = map[string]string{"Policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},
			"Action":"sqs:SendMessage","Resource":"` + arn + `","Condition":{"ArnEquals":{"aws:SourceArn":"` + source + `"}}}]}`}
	}
	out, err := f.sqs.CreateQueue(f.t.Context(), in)
	if err != nil {
		f.t.Fatal(err)
	}
	return out.QueueUrl, arn
}

func (f *fixture) subscribe(endpoint string, attributes map[string]string) *string {
	f.t.Helper()
	out, err := f.Subscribe(f.t.Context(), &sdk.SubscribeInput{TopicArn: f.topicARN, Protocol: aws.String("sqs"), Endpoint: &endpoint, Attributes: attributes})
	if err != nil {
		f.t.Fatal(err)
	}
	return out.SubscriptionArn
}

func (f *fixture) publish(in *sdk.PublishInput) {
	f.t.Helper()
	in.TopicArn = f.topicARN
	if _, err := f.Publish(f.t.Context(), in); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) messages(queue *string) []sqstypes.Message {
	f.t.Helper()
	out, err := f.sqs.ReceiveMessage(f.t.Context(), &sqssdk.ReceiveMessageInput{QueueUrl: queue, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"}})
	if err != nil {
		f.t.Fatal(err)
	}
	return out.Messages
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("error = %v, want %s", err, code)
	}
}

func kind() map[string]types.MessageAttributeValue {
	return map[string]types.MessageAttributeValue{"kind": {DataType: aws.String("String"), StringValue: aws.String("hint")}}
}

func TestRawDeliveryIsTheMessageItself(t *testing.T) {
	f := newFixture(t)
	queue, arn := f.queue("q", *f.topicARN)
	f.subscribe(arn, map[string]string{"RawMessageDelivery": "true"})
	text := `{"detail":{"generation":7,"text":"<päß> & \"x\""}}`
	f.publish(&sdk.PublishInput{Message: &text, MessageAttributes: kind()})
	got := f.messages(queue)
	if len(got) != 1 || aws.ToString(got[0].Body) != text || aws.ToString(got[0].MessageAttributes["kind"].StringValue) != "hint" {
		t.Errorf("received %+v", got)
	}
}

func TestEnvelopedDeliveryCarriesTheMessageInside(t *testing.T) {
	f := newFixture(t)
	queue, arn := f.queue("q", *f.topicARN)
	f.subscribe(arn, nil)
	f.publish(&sdk.PublishInput{Message: aws.String(`{"a":"<b>"}`), Subject: aws.String("S"), MessageAttributes: kind()})
	got := f.messages(queue)
	if len(got) != 1 || len(got[0].MessageAttributes) != 0 {
		t.Fatalf("received %+v", got)
	}
	var n struct {
		Type, MessageId, TopicArn, Subject, Message, Timestamp, SignatureVersion, Signature, SigningCertURL, UnsubscribeURL string
		MessageAttributes                                                                                                   map[string]struct{ Type, Value string }
	}
	if err := json.Unmarshal([]byte(*got[0].Body), &n); err != nil {
		t.Fatal(err)
	}
	if n.Type != "Notification" || n.TopicArn != *f.topicARN || n.Subject != "S" || n.Message != `{"a":"<b>"}` || n.MessageAttributes["kind"].Value != "hint" ||
		n.MessageId == "" || n.Signature == "" || !strings.Contains(n.UnsubscribeURL, "Unsubscribe") {
		t.Errorf("envelope = %+v", n)
	}
	if _, err := time.Parse(time.RFC3339, n.Timestamp); err != nil {
		t.Error(err)
	}
}

func TestAQueueGetsOnlyWhatItsPolicyAllows(t *testing.T) {
	f := newFixture(t)
	closed, closedARN := f.queue("closed", "")
	foreign, foreignARN := f.queue("foreign", *f.topicARN+"2")
	open, openARN := f.queue("open", *f.topicARN)
	for _, arn := range []string{closedARN, "arn:aws:sqs:us-east-1:111122223333:gone", foreignARN, openARN} {
		f.subscribe(arn, nil)
	}
	f.publish(&sdk.PublishInput{Message: aws.String("m")})
	for queue, want := range map[*string]int{closed: 0, foreign: 0, open: 1} {
		if got := f.messages(queue); len(got) != want {
			t.Errorf("%s has %d messages, want %d", *queue, len(got), want)
		}
	}
}

func TestSubscribingAgain(t *testing.T) {
	f := newFixture(t)
	queue, arn := f.queue("q", *f.topicARN)
	first := f.subscribe(arn, map[string]string{"RawMessageDelivery": "true"})
	if again := f.subscribe(arn, map[string]string{"RawMessageDelivery": "true"}); *again != *first {
		t.Errorf("second subscription is %s, want %s", *again, *first)
	}
	if again := f.subscribe(arn, nil); *again != *first {
		t.Errorf("subscription without attributes is %s, want %s", *again, *first)
	}
	_, err := f.Subscribe(t.Context(), &sdk.SubscribeInput{TopicArn: f.topicARN, Protocol: aws.String("sqs"), Endpoint: &arn, Attributes: map[string]string{"RawMessageDelivery": "false"}})
	wantCode(t, err, "InvalidParameter")
	f.publish(&sdk.PublishInput{Message: aws.String("m")})
	if got := f.messages(queue); len(got) != 1 {
		t.Errorf("%d messages, want one", len(got))
	}
}

func TestSubscriptionsChangeAndEnd(t *testing.T) {
	f := newFixture(t)
	queue, arn := f.queue("q", *f.topicARN)
	subscription := f.subscribe(arn, nil)
	_, err := f.SetSubscriptionAttributes(t.Context(), &sdk.SetSubscriptionAttributesInput{
		SubscriptionArn: subscription, AttributeName: aws.String("RawMessageDelivery"), AttributeValue: aws.String("true"),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.publish(&sdk.PublishInput{Message: aws.String("m")})
	if got := f.messages(queue); len(got) != 1 || *got[0].Body != "m" {
		t.Errorf("received %+v, want the raw message", got)
	}
	out, err := f.GetSubscriptionAttributes(t.Context(), &sdk.GetSubscriptionAttributesInput{SubscriptionArn: subscription})
	if err != nil || out.Attributes["Endpoint"] != arn || out.Attributes["RawMessageDelivery"] != "true" {
		t.Errorf("attributes = %+v, %v", out, err)
	}
	for range 2 {
		if _, err := f.Unsubscribe(t.Context(), &sdk.UnsubscribeInput{SubscriptionArn: subscription}); err != nil {
			t.Fatal(err)
		}
	}
	f.publish(&sdk.PublishInput{Message: aws.String("late")})
	if got := f.messages(queue); len(got) != 0 {
		t.Errorf("received %+v after the subscription's end", got)
	}
	_, err = f.GetSubscriptionAttributes(t.Context(), &sdk.GetSubscriptionAttributesInput{SubscriptionArn: subscription})
	wantCode(t, err, "NotFound")
}

func TestListingPagesThroughAllSubscriptions(t *testing.T) {
	f := newFixture(t)
	var want []string
	for i := range 250 {
		want = append(want, fmt.Sprintf("arn:aws:sqs:us-east-1:111122223333:rotatessh-%d", i))
		f.subscribe(want[i], nil)
	}
	var got []string
	p := sdk.NewListSubscriptionsByTopicPaginator(f.Client, &sdk.ListSubscriptionsByTopicInput{TopicArn: f.topicARN})
	pages := 0
	for p.HasMorePages() {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, s := range out.Subscriptions {
			got = append(got, *s.Endpoint)
		}
	}
	if !slices.Equal(got, want) || pages != 3 {
		t.Errorf("%d subscriptions in %d pages, want 250 in 3", len(got), pages)
	}
}

func TestTopicsAreMadeOnceAndDescribed(t *testing.T) {
	f := newFixture(t)
	if again := f.topic("published"); *again != "arn:aws:sns:us-east-1:111122223333:published" || *again != *f.topicARN {
		t.Errorf("topic = %s", *again)
	}
	f.topic("another")
	list, err := f.ListTopics(t.Context(), &sdk.ListTopicsInput{})
	if err != nil || len(list.Topics) != 2 {
		t.Errorf("topics = %+v, %v", list, err)
	}
	policy := `{"Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sns:Publish","Resource":"` + *f.topicARN + `"}]}`
	_, err = f.SetTopicAttributes(t.Context(), &sdk.SetTopicAttributesInput{TopicArn: f.topicARN, AttributeName: aws.String("Policy"), AttributeValue: &policy})
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.GetTopicAttributes(t.Context(), &sdk.GetTopicAttributesInput{TopicArn: f.topicARN})
	if err != nil || out.Attributes["Policy"] != policy || out.Attributes["SubscriptionsConfirmed"] != "0" || out.Attributes["Owner"] != wiretest.Account {
		t.Errorf("attributes = %+v, %v", out, err)
	}
	if _, err := f.DeleteTopic(t.Context(), &sdk.DeleteTopicInput{TopicArn: f.topicARN}); err != nil {
		t.Fatal(err)
	}
	_, err = f.Publish(t.Context(), &sdk.PublishInput{TopicArn: f.topicARN, Message: aws.String("m")})
	wantCode(t, err, "NotFound")
}

func TestAServicePublishesOnlyWhereThePolicyAllows(t *testing.T) {
	f := newFixture(t)
	queue, arn := f.queue("q", *f.topicARN)
	f.subscribe(arn, map[string]string{"RawMessageDelivery": "true"})
	publish := func() error {
		return f.service.PublishFrom("events.amazonaws.com", "arn:aws:events:us-east-1:111122223333:rule/r", sns.Message{TopicARN: *f.topicARN, Text: "event"})
	}
	if err := publish(); !errors.Is(err, sns.ErrDenied) {
		t.Errorf("without a policy: %v, want %v", err, sns.ErrDenied)
	}
	policy := `{"Statement":{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sns:Publish","Resource":"*"}}`
	_, err := f.SetTopicAttributes(t.Context(), &sdk.SetTopicAttributesInput{TopicArn: f.topicARN, AttributeName: aws.String("Policy"), AttributeValue: &policy})
	if err != nil {
		t.Fatal(err)
	}
	if err := publish(); err != nil {
		t.Errorf("with a policy: %v", err)
	}
	if got := f.messages(queue); len(got) != 1 || *got[0].Body != "event" {
		t.Errorf("received %+v, want one event", got)
	}
}

func TestWhatTopicsRefuse(t *testing.T) {
	f := newFixture(t)
	_, err := f.Publish(t.Context(), &sdk.PublishInput{TopicArn: f.topicARN, Message: aws.String("")})
	wantCode(t, err, "InvalidParameter")
	_, err = f.Publish(t.Context(), &sdk.PublishInput{TopicArn: f.topicARN, Message: aws.String(strings.Repeat("x", 256<<10+1))})
	wantCode(t, err, "InvalidParameter")
	_, err = f.Subscribe(t.Context(), &sdk.SubscribeInput{TopicArn: f.topicARN, Protocol: aws.String("email"), Endpoint: aws.String("a@example.com")})
	wantCode(t, err, "InvalidParameter")
	_, err = f.Subscribe(t.Context(), &sdk.SubscribeInput{TopicArn: aws.String(*f.topicARN + "2"), Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:111122223333:q")})
	wantCode(t, err, "NotFound")
	_, err = f.Subscribe(t.Context(), &sdk.SubscribeInput{TopicArn: f.topicARN, Protocol: aws.String("sqs"), Endpoint: aws.String("q")})
	wantCode(t, err, "InvalidParameter")
	_, err = f.CreateTopic(t.Context(), &sdk.CreateTopicInput{Name: aws.String("a b")})
	wantCode(t, err, "InvalidParameter")
}

func BenchmarkPublishToAll(b *testing.B) {
	queues := sqs.New(sqs.Deps{Region: wiretest.Region, Account: wiretest.Account})
	topics := sns.New(sns.Deps{Region: wiretest.Region, Account: wiretest.Account, Deliver: queues.Deliver})
	do := func(h wire.Handler, r *wire.Request) {
		if _, err := h.Handle(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	do(topics, wiretest.Request("sns", "", []byte("Action=CreateTopic&Name=t")))
	policy, _ := json.Marshal(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"*"}}`)
	const topic = "arn:aws:sns:us-east-1:111122223333:t"
	for i := range 10_000 {
		do(queues, wiretest.Request("sqs", "AmazonSQS.CreateQueue", fmt.Appendf(nil, `{"QueueName":"q%d","Attributes":{"Policy":%s}}`, i, policy)))
		do(topics, wiretest.Request("sns", "", fmt.Appendf(nil, "Action=Subscribe&Protocol=sqs&TopicArn=%s&Endpoint=arn:aws:sqs:us-east-1:111122223333:q%d", topic, i)))
	}
	for b.Loop() {
		do(topics, wiretest.Request("sns", "", []byte("Action=Publish&Message=m&TopicArn="+topic)))
	}
}
