package wake

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rotatessh/rotatessh/agent/internal/identity"
	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/common/localaws"
)

// topic is the rotator's side: a topic that everybody's queue can subscribe to.
type topic struct {
	server *localaws.Server
	sns    *sns.Client
	arn    string
	worker identity.Worker
	role   aws.Config // with the worker's credentials
}

func newTopic(t *testing.T) *topic {
	t.Helper()
	server, err := localaws.Start(localaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	operator := aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL()),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAOPERATOR", "secret", ""),
	}
	instance, err := server.RunInstance(localaws.Instance{})
	if err != nil {
		t.Fatal(err)
	}
	worker, err := identity.FromARN(instance.ARN)
	if err != nil {
		t.Fatal(err)
	}
	role := operator.Copy()
	role.Credentials = aws.NewCredentialsCache(ec2rolecreds.New(func(o *ec2rolecreds.Options) {
		o.Client = imds.New(imds.Options{Endpoint: instance.MetadataURL})
	}))
	tp := &topic{server: server, sns: sns.NewFromConfig(operator), worker: worker, role: role}
	out, err := tp.sns.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("rotatessh-keyset-published")})
	if err != nil {
		t.Fatal(err)
	}
	tp.arn = aws.ToString(out.TopicArn)
	return tp
}

// queue is the worker's queue.
func (tp *topic) queue(bell *Bell, log *zap.Logger) *Queue {
	return &Queue{
		SQS: sqs.NewFromConfig(tp.role), SNS: sns.NewFromConfig(tp.role), Worker: tp.worker,
		Name: "rotatessh-" + tp.worker.ID, Topic: "rotatessh-keyset-published",
		FleetSize: func() int { return 1 }, Bell: bell, Log: log,
	}
}

func (tp *topic) publish(t *testing.T, message string) {
	t.Helper()
	if _, err := tp.sns.Publish(t.Context(), &sns.PublishInput{TopicArn: &tp.arn, Message: &message}); err != nil {
		t.Fatal(err)
	}
}

// listen runs the queue until the test ends.
func listen(t *testing.T, q *Queue) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { q.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

// hears waits for the bell.
func hears(t *testing.T, b *Bell) keysync.Request {
	t.Helper()
	select {
	case <-b.Rung():
		return b.Take()
	case <-time.After(20 * time.Second):
		t.Fatal("the bell stays silent")
		return keysync.Request{}
	}
}

// waitFor waits for a call to the endpoint that succeeded.
func (tp *topic) waitFor(t *testing.T, action string) localaws.Call {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		calls := tp.server.Calls()
		if i := slices.IndexFunc(calls, func(c localaws.Call) bool { return c.Action == action && c.ErrorCode == "" }); i >= 0 {
			return calls[i]
		}
	}
	t.Fatalf("%s was not called", action)
	return localaws.Call{}
}

const event = `{"source":"rotatessh","detail-type":"SSH Keyset Published","detail":{"secretArn":"x","generation":GENERATION,"keys":[]}}`

func TestQueueWakesForTheGenerationThatIsAnnounced(t *testing.T) {
	tp, bell := newTopic(t), NewBell()
	listen(t, tp.queue(bell, zap.NewNop()))
	tp.waitFor(t, "Subscribe")
	tp.publish(t, strings.Replace(event, "GENERATION", "7", 1))
	if r := hears(t, bell); !r.Fetch || r.Full || r.Generation != 7 {
		t.Errorf("%+v", r)
	}
	tp.publish(t, "Secret Label Updated, or anything else")
	if r := hears(t, bell); !r.Fetch || r.Generation != 0 {
		t.Errorf("%+v", r)
	}
	tp.waitFor(t, "DeleteMessageBatch")
	url, err := sqs.NewFromConfig(tp.role).GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("rotatessh-" + tp.worker.ID)})
	if err != nil {
		t.Fatal(err)
	}
	attributes, err := sqs.NewFromConfig(tp.role).GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: url.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		t.Fatal(err)
	}
	a := attributes.Attributes
	if a["MessageRetentionPeriod"] != "3600" || a["ReceiveMessageWaitTimeSeconds"] != "20" || !strings.Contains(a["Policy"], `"aws:SourceArn":"`+tp.arn+`"`) {
		t.Errorf("the queue's attributes are %v", a)
	}
}

func TestOnlyTheTopicMaySend(t *testing.T) {
	tp, bell := newTopic(t), NewBell()
	listen(t, tp.queue(bell, zap.NewNop()))
	tp.waitFor(t, "Subscribe")
	other, err := tp.sns.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("other")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tp.sns.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: other.TopicArn, Protocol: aws.String("sqs"),
		Endpoint: aws.String(strings.Replace(tp.arn, "sns", "sqs", 1)[:len("arn:aws:sqs:us-east-1:111122223333:")] + "rotatessh-" + tp.worker.ID)}); err != nil {
		t.Fatal(err)
	}
	if _, err := tp.sns.Publish(t.Context(), &sns.PublishInput{TopicArn: other.TopicArn, Message: aws.String("x")}); err != nil {
		t.Fatal(err)
	}
	tp.publish(t, strings.Replace(event, "GENERATION", "3", 1))
	hears(t, bell)
	if n := len(tp.server.Snapshot().Messages); n != 1 {
		t.Errorf("%d messages were delivered, want the topic's own one", n)
	}
}

func TestRestartFindsTheQueue(t *testing.T) {
	tp := newTopic(t)
	for generation := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		bell, done := NewBell(), make(chan struct{})
		q := tp.queue(bell, zap.NewNop())
		go func() { q.Run(ctx); close(done) }()
		tp.waitFor(t, "Subscribe")
		tp.publish(t, strings.Replace(event, "GENERATION", "5", 1))
		if r := hears(t, bell); r.Generation != 5 {
			t.Errorf("run %d: %+v", generation, r)
		}
		cancel()
		<-done
	}
}

func TestQueueOfAnEarlierReleaseIsUsedAsItIs(t *testing.T) {
	tp, bell := newTopic(t), NewBell()
	q := tp.queue(bell, zap.NewNop())
	policy, err := q.policy()
	if err != nil {
		t.Fatal(err)
	}
	_, err = sqs.NewFromConfig(tp.role).CreateQueue(t.Context(), &sqs.CreateQueueInput{
		QueueName: &q.Name, Tags: map[string]string{"instance-arn": tp.worker.ARN},
		Attributes: map[string]string{"MessageRetentionPeriod": "7200", "Policy": policy},
	})
	if err != nil {
		t.Fatal(err)
	}
	listen(t, q)
	tp.waitFor(t, "Subscribe")
	tp.publish(t, strings.Replace(event, "GENERATION", "2", 1))
	if r := hears(t, bell); r.Generation != 2 {
		t.Errorf("%+v", r)
	}
}

func TestWhateverFailsIsTriedAgain(t *testing.T) {
	for _, action := range []string{"CreateQueue", "Subscribe", "ReceiveMessage", "DeleteMessageBatch"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			tp, bell := newTopic(t), NewBell()
			var failures atomic.Int64
			tp.server.OnCall(localaws.Fault{Action: action, Before: func(localaws.Call) error {
				if failures.Add(1) > 1 {
					return nil
				}
				return &localaws.APIError{Code: "AWS.SimpleQueueService.NonExistentQueue", Message: "not yet", Status: 400}
			}})
			core, logs := observer.New(zap.WarnLevel)
			listen(t, tp.queue(bell, zap.New(core)))
			tp.waitFor(t, "Subscribe")
			tp.publish(t, strings.Replace(event, "GENERATION", "9", 1))
			if r := hears(t, bell); r.Generation != 9 {
				t.Errorf("%+v", r)
			}
			for deadline := time.Now().Add(10 * time.Second); logs.FilterMessage("queue is out of use").Len() != 1; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("logged %v", logs.All())
				}
			}
		})
	}
}

func TestStopEndsALongPollAtOnce(t *testing.T) {
	tp := newTopic(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { tp.queue(NewBell(), zap.NewNop()).Run(ctx); close(done) }()
	tp.waitFor(t, "Subscribe")
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("still polling")
	}
}

func TestAnnounced(t *testing.T) {
	for body, want := range map[string]int64{
		strings.Replace(event, "GENERATION", "12", 1):    12,
		strings.Replace(event, "GENERATION", "-3", 1):    -3,
		strings.Replace(event, "GENERATION", `"7"`, 1):   0,
		strings.Replace(event, "GENERATION", "1e300", 1): 0,
		`{"detail":{"labelUpdated":"AWSCURRENT"}}`:       0,
		"": 0, "null": 0, "[]": 0, `{"detail":"generation"}`: 0,
	} {
		if got := announced(body); got != want {
			t.Errorf("%.60s: %d, want %d", body, got, want)
		}
	}
}

func TestWindowsGrowWithTheFleet(t *testing.T) {
	q := &Queue{FleetSize: func() int { return 3 }}
	if w := longest(q, readsPerSecond); w > time.Millisecond {
		t.Errorf("three machines wait %v", w)
	}
	q.FleetSize = func() int { return 10_000 }
	if w := longest(q, readsPerSecond); w > 2*time.Second || w < time.Second {
		t.Errorf("10,000 machines read within %v", w)
	}
	if w := longest(q, subscribesPerSecond); w > 200*time.Second || w < 100*time.Second {
		t.Errorf("10,000 machines subscribe within %v", w)
	}
}

func longest(q *Queue, perSecond int) time.Duration {
	var most time.Duration
	for range 200 {
		most = max(most, q.within(perSecond))
	}
	return most
}

func TestBackoffGrowsToItsCap(t *testing.T) {
	for failed, want := range map[int]time.Duration{0: time.Second, 1: 2 * time.Second, 5: 32 * time.Second, 30: lastRetry, 1 << 30: lastRetry} {
		for range 50 {
			if d := backoff(failed); d < want/2 || d > want {
				t.Errorf("after %d failures: %v, want up to %v", failed, d, want)
			}
		}
	}
}
