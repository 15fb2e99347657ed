package wake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/agent/internal/identity"
	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/common/logging"
)

// SQS is what a Queue needs of the SDK's client.
type SQS interface {
	CreateQueue(context.Context, *sqs.CreateQueueInput, ...func(*sqs.Options)) (*sqs.CreateQueueOutput, error)
	GetQueueUrl(context.Context, *sqs.GetQueueUrlInput, ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error)
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessageBatch(context.Context, *sqs.DeleteMessageBatchInput, ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
}

// SNS is what a Queue needs of the SDK's client.
type SNS interface {
	Subscribe(context.Context, *sns.SubscribeInput, ...func(*sns.Options)) (*sns.SubscribeOutput, error)
}

const (
	// tagInstance names the queue's owner; IAM lets a worker use a queue only if the tag has its own instance ARN.
	tagInstance = "instance-arn"
	// retention is how long a message waits for an agent that hangs. A message is a hint and every start makes a full check, so that
	// older ones are worth nothing.
	retention = time.Hour
	longPoll  = 20 * time.Second
	// SNS takes 100 subscriptions a second from an account and Secrets Manager 10,000 reads: a fleet that does either at once spreads
	// itself out to half of that.
	subscribesPerSecond = 50
	readsPerSecond      = 5000

	firstRetry = time.Second
	lastRetry  = 10 * time.Minute
)

// Queue wakes the agent through its own SQS queue, which it creates and subscribes to the topic. It is safe for one Run.
type Queue struct {
	SQS       SQS
	SNS       SNS
	Worker    identity.Worker
	Name      string // of the queue
	Topic     string // name of the topic, in the worker's own region and account
	FleetSize func() int
	Bell      *Bell
	Log       *zap.Logger
}

// Run subscribes and listens until ctx ends. Whatever fails is tried again, ever less often.
func (q *Queue) Run(ctx context.Context) {
	for failed := 0; ; failed++ {
		start := time.Now()
		err := q.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > lastRetry {
			failed = 0
		}
		wait := backoff(failed)
		q.Log.Warn("queue is out of use", zap.Error(err), zap.Duration("retry_in", wait))
		if sleep(ctx, wait) != nil {
			return
		}
	}
}

// backoff is the jittered wait after so many earlier failures.
func backoff(failed int) time.Duration {
	d := min(firstRetry<<min(failed, 16), lastRetry)
	return d/2 + rand.N(d/2+1)
}

// session makes the queue, subscribes it, and listens until something fails.
func (q *Queue) session(ctx context.Context) error {
	if err := sleep(ctx, q.within(subscribesPerSecond)); err != nil {
		return err
	}
	url, err := q.create(ctx)
	if err != nil {
		return err
	}
	if err := q.subscribe(ctx); err != nil {
		return err
	}
	q.Log.Info("listening to the queue", zap.String("queue", q.Name), zap.String("topic", q.Topic))
	for {
		if err := q.receive(ctx, url); err != nil {
			return err
		}
	}
}

// within gives a random time in the window that a whole fleet needs at that rate. It is nothing for a small one.
func (q *Queue) within(perSecond int) time.Duration {
	window := time.Duration(q.FleetSize()) * time.Second / time.Duration(perSecond)
	return rand.N(window + 1)
}

func (q *Queue) arn(service, name string) string {
	w := q.Worker
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", w.Partition, service, w.Region, w.Account, name)
}

// create makes the queue with its policy and tag in the one call that IAM's conditions look at, or finds the one made earlier.
func (q *Queue) create(ctx context.Context) (url string, err error) {
	policy, err := q.policy()
	if err != nil {
		return "", err
	}
	out, err := q.SQS.CreateQueue(ctx, &sqs.CreateQueueInput{
		QueueName: &q.Name,
		Attributes: map[string]string{
			string(types.QueueAttributeNamePolicy):                        policy,
			string(types.QueueAttributeNameMessageRetentionPeriod):        seconds(retention),
			string(types.QueueAttributeNameReceiveMessageWaitTimeSeconds): seconds(longPoll),
		},
		Tags: map[string]string{tagInstance: q.Worker.ARN},
	})
	if err == nil {
		return aws.ToString(out.QueueUrl), nil
	}
	if _, exists := errors.AsType[*types.QueueNameExists](err); !exists {
		return "", fmt.Errorf("creating queue %q: %w", q.Name, err)
	}
	// An earlier release made it with other attributes; that is no reason not to listen.
	found, err := q.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &q.Name})
	if err != nil {
		return "", fmt.Errorf("looking for queue %q: %w", q.Name, err)
	}
	return aws.ToString(found.QueueUrl), nil
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// policy lets the topic, and nobody else, send to the queue.
func (q *Queue) policy() (string, error) {
	type statement struct {
		Effect    string
		Principal map[string]string
		Action    string
		Resource  string
		Condition map[string]map[string]string
	}
	doc, err := json.Marshal(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{{
		Effect: "Allow", Principal: map[string]string{"Service": "sns.amazonaws.com"}, Action: "sqs:SendMessage",
		Resource:  q.arn("sqs", q.Name),
		Condition: map[string]map[string]string{"ArnEquals": {"aws:SourceArn": q.arn("sns", q.Topic)}},
	}}})
	return string(doc), err
}

func (q *Queue) subscribe(ctx context.Context) error {
	_, err := q.SNS.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn:   aws.String(q.arn("sns", q.Topic)),
		Protocol:   aws.String("sqs"),
		Endpoint:   aws.String(q.arn("sqs", q.Name)),
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	})
	if err != nil {
		return fmt.Errorf("subscribing queue %q to topic %q: %w", q.Name, q.Topic, err)
	}
	return nil
}

// receive waits for messages once and rings for the highest generation that they announce.
func (q *Queue) receive(ctx context.Context, url string) error {
	out, err := q.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: int32(longPoll / time.Second),
	})
	if err != nil {
		return fmt.Errorf("receiving from queue %q: %w", q.Name, err)
	}
	if len(out.Messages) == 0 {
		return nil
	}
	ring := keysync.Request{Fetch: true, Why: "a message has arrived"}
	var done []types.DeleteMessageBatchRequestEntry
	for i, m := range out.Messages {
		ring.Generation = max(ring.Generation, announced(aws.ToString(m.Body)))
		done = append(done, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
	}
	q.Log.Debug("messages received", zap.Int("count", len(done)), logging.Generation(ring.Generation))
	if err := sleep(ctx, q.within(readsPerSecond)); err != nil {
		return err
	}
	q.Bell.Ring(ring)
	// One that is not deleted comes again and causes a pass that finds nothing to do.
	if _, err := q.SQS.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: done}); err != nil {
		return fmt.Errorf("deleting from queue %q: %w", q.Name, err)
	}
	return nil
}

// announced is the generation that a message's event names, or 0. Anybody may have sent it: it is only ever waited for.
func announced(body string) int64 {
	var event struct {
		Detail struct {
			Generation int64 `json:"generation"`
		} `json:"detail"`
	}
	if json.Unmarshal([]byte(body), &event) != nil {
		return 0
	}
	return event.Detail.Generation
}
