package localaws_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/rotatessh/rotatessh/common/localaws"
)

const topicName = "rotatessh-keyset-published"

// fanOut makes a topic that EventBridge may publish to and a rule that sends it the rotator's events.
func fanOut(t *testing.T, s *localaws.Server) (topicARN string) {
	t.Helper()
	cfg := operator(t, s)
	topics, bus := sns.NewFromConfig(cfg), eventbridge.NewFromConfig(cfg)
	topic, err := topics.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String(topicName)})
	if err != nil {
		t.Fatal(err)
	}
	policy := fmt.Sprintf(`{"Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sns:Publish","Resource":%q}]}`, *topic.TopicArn)
	if _, err := topics.SetTopicAttributes(t.Context(), &sns.SetTopicAttributesInput{TopicArn: topic.TopicArn, AttributeName: aws.String("Policy"), AttributeValue: &policy}); err != nil {
		t.Fatal(err)
	}
	rule(t, bus, "published", `{"source":["rotatessh"],"detail-type":["SSH Keyset Published"]}`, *topic.TopicArn)
	return *topic.TopicArn
}

func rule(t *testing.T, bus *eventbridge.Client, name, pattern, target string) {
	t.Helper()
	if _, err := bus.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: &name, EventPattern: &pattern}); err != nil {
		t.Fatal(err)
	}
	out, err := bus.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: &name, Targets: []eventtypes.Target{{Id: aws.String("1"), Arn: &target}}})
	if err != nil || out.FailedEntryCount != 0 {
		t.Fatalf("PutTargets = %v, %v", out, err)
	}
}

// subscribe makes a worker's queue and subscribes it, as an agent does with the worker's own credentials.
func subscribe(t *testing.T, cfg aws.Config, i localaws.Instance, topicARN string) (queues *sqs.Client, url string) {
	t.Helper()
	queues = sqs.NewFromConfig(cfg)
	name := "rotatessh-" + i.ID
	arn := "arn:aws:sqs:us-east-1:111122223333:" + name
	policy := fmt.Sprintf(`{"Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":%q,"Condition":{"ArnEquals":{"aws:SourceArn":%q}}}]}`, arn, topicARN)
	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"Policy": policy}, Tags: map[string]string{"instance-arn": i.ARN}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sns.NewFromConfig(cfg).Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &topicARN, Protocol: aws.String("sqs"), Endpoint: &arn,
		Attributes: map[string]string{"RawMessageDelivery": "true"}, ReturnSubscriptionArn: true})
	if err != nil {
		t.Fatal(err)
	}
	return queues, *queue.QueueUrl
}

func announce(t *testing.T, s *localaws.Server, detail string) {
	t.Helper()
	out, err := eventbridge.NewFromConfig(operator(t, s)).PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{
		{Source: aws.String("rotatessh"), DetailType: aws.String("SSH Keyset Published"), Detail: &detail}}})
	if err != nil || out.FailedEntryCount != 0 {
		t.Fatalf("PutEvents = %v, %v", out, err)
	}
}

func TestEventWakesEveryWorker(t *testing.T) {
	s := start(t, localaws.Options{})
	topicARN := fanOut(t, s)
	type listener struct {
		*sqs.Client
		url string
	}
	var workers []listener
	for range 3 {
		i := runInstance(t, s, localaws.Instance{})
		queues, url := subscribe(t, worker(t, s, i), i, topicARN)
		workers = append(workers, listener{queues, url})
	}
	bodies := make(chan string)
	for _, w := range workers {
		go func() {
			out, err := w.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &w.url, WaitTimeSeconds: 20})
			if err != nil || len(out.Messages) != 1 {
				t.Errorf("ReceiveMessage = %v, %v", out, err)
				bodies <- "{}"
				return
			}
			_, err = w.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &w.url, ReceiptHandle: out.Messages[0].ReceiptHandle})
			if err != nil {
				t.Error(err)
			}
			bodies <- *out.Messages[0].Body
		}()
	}
	announce(t, s, `{"generation":7}`)
	for range workers {
		var event struct {
			Source string
			Detail struct{ Generation int }
		}
		if body := <-bodies; json.Unmarshal([]byte(body), &event) != nil || event.Source != "rotatessh" || event.Detail.Generation != 7 {
			t.Errorf("a worker got %s", body)
		}
	}
	snap := s.Snapshot()
	if len(snap.Events) != 1 || len(snap.Messages) != 3 || !strings.Contains(snap.Messages[0], `"generation":7`) {
		t.Errorf("snapshot has %d events and %d messages", len(snap.Events), len(snap.Messages))
	}
}

func TestQueueThatDoesNotAllowTheTopicGetsNothing(t *testing.T) {
	s := start(t, localaws.Options{})
	topicARN := fanOut(t, s)
	i := runInstance(t, s, localaws.Instance{})
	queues, url := subscribe(t, worker(t, s, i), i, topicARN)
	op := sqs.NewFromConfig(operator(t, s))
	setPolicy := func(policy string) {
		t.Helper()
		if _, err := op.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{"Policy": policy}}); err != nil {
			t.Fatal(err)
		}
	}
	have, err := queues.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{"Policy"}})
	if err != nil {
		t.Fatal(err)
	}
	setPolicy(strings.Replace(have.Attributes["Policy"], topicName, "another-topic", 1))
	announce(t, s, `{"generation":1}`)
	eventually(t, "event routed", func() bool { return len(s.Snapshot().Events) == 1 })
	setPolicy(have.Attributes["Policy"])
	announce(t, s, `{"generation":2}`)
	out, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 20, MaxNumberOfMessages: 10})
	if err != nil || len(out.Messages) != 1 || !strings.Contains(*out.Messages[0].Body, `"generation":2`) {
		t.Errorf("ReceiveMessage = %v, %v; want the second event alone", out, err)
	}
}

func TestLabelEventInvokesAFunction(t *testing.T) {
	s := start(t, localaws.Options{})
	arn := function(t, s, "echo", "echo", time.Minute)
	cfg := operator(t, s)
	rule(t, eventbridge.NewFromConfig(cfg), "label",
		`{"source":["aws.secretsmanager"],"detail-type":["Secret Label Updated"],"detail":{"name":["/dev/ssh"],"labelUpdated":["AWSCURRENT"]}}`, arn)
	secrets := secretsmanager.NewFromConfig(cfg)
	for _, name := range []string{"/dev/other", "/dev/ssh"} {
		if _, err := secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("1")}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String("/dev/ssh"), SecretString: aws.String("2")})
	if err != nil {
		t.Fatal(err)
	}
	invocations := func() []localaws.Call {
		return slices.DeleteFunc(s.Calls(), func(c localaws.Call) bool { return c.Action != "Invoke" })
	}
	eventually(t, "two invocations", func() bool { return len(invocations()) == 2 })
	seen := map[string]bool{}
	for _, c := range invocations() {
		var e struct {
			Resources []string
			Detail    struct{ Name, LabelUpdated, VersionID string }
		}
		if err := json.Unmarshal(c.Input, &e); err != nil || len(e.Resources) != 1 || e.Resources[0] != *out.ARN || e.Detail.Name != "/dev/ssh" || c.ErrorCode != "" {
			t.Errorf("function got %s: %v %s", c.Input, err, c.ErrorCode)
		}
		seen[e.Detail.VersionID] = true
	}
	if !seen[*out.VersionId] || len(seen) != 2 {
		t.Errorf("events tell of versions %v", seen)
	}
}

func TestTableKeepsConditions(t *testing.T) {
	s := start(t, localaws.Options{})
	db := dynamodb.NewFromConfig(operator(t, s))
	table := aws.String("rotatessh-ledger")
	_, err := db.CreateTable(t.Context(), &dynamodb.CreateTableInput{TableName: table, BillingMode: dynamotypes.BillingModePayPerRequest,
		AttributeDefinitions: []dynamotypes.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: "S"}},
		KeySchema:            []dynamotypes.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: "HASH"}}})
	if err != nil {
		t.Fatal(err)
	}
	i := runInstance(t, s, localaws.Instance{})
	mine := dynamodb.NewFromConfig(worker(t, s, i))
	put := func(generation string) error {
		_, err := mine.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: table,
			Item:                                map[string]dynamotypes.AttributeValue{"pk": &dynamotypes.AttributeValueMemberS{Value: i.ARN}, "g": &dynamotypes.AttributeValueMemberN{Value: generation}},
			ConditionExpression:                 aws.String("attribute_not_exists(g) OR g < :g"),
			ExpressionAttributeValues:           map[string]dynamotypes.AttributeValue{":g": &dynamotypes.AttributeValueMemberN{Value: generation}},
			ReturnValuesOnConditionCheckFailure: dynamotypes.ReturnValuesOnConditionCheckFailureAllOld})
		return err
	}
	if err := put("9"); err != nil {
		t.Fatal(err)
	}
	if err := put("10"); err != nil {
		t.Fatal(err)
	}
	var failed *dynamotypes.ConditionalCheckFailedException
	if err := put("9"); !errors.As(err, &failed) || failed.Item["g"].(*dynamotypes.AttributeValueMemberN).Value != "10" {
		t.Errorf("lower generation: %v", err)
	}
	_, err = mine.Scan(t.Context(), &dynamodb.ScanInput{TableName: table})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException" {
		t.Errorf("Scan = %v", err)
	}
	if items := s.Snapshot().Items; len(items) != 1 || fmt.Sprint(items[0]["g"]) != "map[N:10]" {
		t.Errorf("snapshot has %v", items)
	}
}
