package queues_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/queues"
)

const (
	gone     = "i-0123456789abcdef0" // EC2 does not know it
	here     = "i-0123456789abcdef1" // nor this one, but nobody asks
	queueARN = "arn:aws:sqs:us-east-1:111122223333:rotatessh-"
)

// cloud is an account with the topic.
type cloud struct {
	*queues.Remover
	t      *testing.T
	server *localaws.Server
	sqs    *sqs.Client
	sns    *sns.Client
	topic  string // its ARN
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	server, err := localaws.Start(localaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	cfg := aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL()), Credentials: credentials.NewStaticCredentialsProvider("AKIA", "x", ""),
	}
	c := &cloud{t: t, server: server, sqs: sqs.NewFromConfig(cfg), sns: sns.NewFromConfig(cfg)}
	c.Remover = &queues.Remover{SQS: c.sqs, SNS: c.sns, EC2: ec2.NewFromConfig(cfg), Prefix: "rotatessh-", Topic: "published"}
	c.topic = c.newTopic("published")
	return c
}

func (c *cloud) newTopic(name string) string {
	c.t.Helper()
	out, err := c.sns.CreateTopic(c.t.Context(), &sns.CreateTopicInput{Name: &name})
	if err != nil {
		c.t.Fatal(err)
	}
	return aws.ToString(out.TopicArn)
}

// makeQueue makes an instance's queue and subscribes it to the topics, as an agent does.
func (c *cloud) makeQueue(instanceID string, topics ...string) {
	c.t.Helper()
	if _, err := c.sqs.CreateQueue(c.t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("rotatessh-" + instanceID)}); err != nil {
		c.t.Fatal(err)
	}
	for _, topic := range topics {
		_, err := c.sns.Subscribe(c.t.Context(), &sns.SubscribeInput{
			TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: aws.String(queueARN + instanceID), Attributes: map[string]string{"RawMessageDelivery": "true"},
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// queues are the names of all queues, sorted.
func (c *cloud) queues() []string {
	c.t.Helper()
	var names []string
	pages := sqs.NewListQueuesPaginator(c.sqs, &sqs.ListQueuesInput{MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		for _, url := range page.QueueUrls {
			names = append(names, url[strings.LastIndexByte(url, '/')+1:])
		}
	}
	return slices.Sorted(slices.Values(names))
}

// subscribed are the names of the queues that are subscribed to a topic, sorted.
func (c *cloud) subscribed(topic string) []string {
	c.t.Helper()
	var names []string
	pages := sns.NewListSubscriptionsByTopicPaginator(c.sns, &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
	for pages.HasMorePages() {
		page, err := pages.NextPage(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		for _, s := range page.Subscriptions {
			names = append(names, strings.TrimPrefix(aws.ToString(s.Endpoint), strings.TrimSuffix(queueARN, "rotatessh-")))
		}
	}
	return slices.Sorted(slices.Values(names))
}

func (c *cloud) want(what string, got []string, want ...string) {
	c.t.Helper()
	if !slices.Equal(got, want) {
		c.t.Errorf("%s are %v, want %v", what, got, want)
	}
}

func TestAQueueGoesWithItsSubscription(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	other := c.newTopic("other")
	c.makeQueue(gone, c.topic, other)
	c.makeQueue(here, c.topic)
	for _, want := range []bool{true, false} {
		if removed, err := c.Remove(t.Context(), gone); removed != want || err != nil {
			t.Errorf("removed is %v, %v; want %v", removed, err, want)
		}
		c.want("queues", c.queues(), "rotatessh-"+here)
		c.want("subscriptions", c.subscribed(c.topic), "rotatessh-"+here)
		c.want("subscriptions to another topic", c.subscribed(other), "rotatessh-"+gone)
	}
}

// A worker may tag its own queue as it likes, and name whatever it knows there.
func TestAForgedTagEndsNobodysSubscription(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.makeQueue(gone, c.topic)
	c.makeQueue(here, c.topic)
	list, err := c.sns.ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &c.topic})
	if err != nil {
		t.Fatal(err)
	}
	tags := map[string]string{"instance-arn": "arn:aws:ec2:us-east-1:111122223333:instance/" + here, "QueueArn": queueARN + here, "topic": c.topic}
	for _, s := range list.Subscriptions {
		if aws.ToString(s.Endpoint) == queueARN+here {
			tags["subscription-arn"] = aws.ToString(s.SubscriptionArn)
		}
	}
	url := aws.String(c.server.URL() + "/111122223333/rotatessh-" + gone)
	if _, err := c.sqs.TagQueue(t.Context(), &sqs.TagQueueInput{QueueUrl: url, Tags: tags}); err != nil || tags["subscription-arn"] == "" {
		t.Fatal(tags, err)
	}
	if removed, err := c.Remove(t.Context(), gone); !removed || err != nil {
		t.Errorf("removed is %v, %v", removed, err)
	}
	c.want("queues", c.queues(), "rotatessh-"+here)
	c.want("subscriptions", c.subscribed(c.topic), "rotatessh-"+here)
}

func TestAQueueWithoutSubscriptionLeavesNone(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.makeQueue(gone)
	if removed, err := c.Remove(t.Context(), gone); !removed || err != nil {
		t.Errorf("removed is %v, %v", removed, err)
	}
	c.want("queues", c.queues())
	c.want("subscriptions", c.subscribed(c.topic))
}

func TestAQueueGoesAfterItsTopic(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.makeQueue(gone, c.topic)
	if _, err := c.sns.DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: &c.topic}); err != nil {
		t.Fatal(err)
	}
	if removed, err := c.Remove(t.Context(), gone); !removed || err != nil {
		t.Errorf("removed is %v, %v", removed, err)
	}
	c.want("queues", c.queues())
}

func TestWhateverIsInterruptedTheSweepCompletes(t *testing.T) {
	t.Parallel()
	denied := &localaws.APIError{Code: "AuthorizationError", Message: "not authorized", Status: 403}
	for name, fault := range map[string]localaws.Fault{
		"not found in time":     {Action: "GetQueueUrl", Before: func(localaws.Call) error { return localaws.ErrDrop }},
		"not described":         {Action: "GetQueueAttributes", Before: func(localaws.Call) error { return localaws.ErrDrop }},
		"no right to subscribe": {Action: "Subscribe", Before: func(localaws.Call) error { return denied }},
		"subscription unheard":  {Action: "Subscribe", After: func(localaws.Call) error { return localaws.ErrDrop }},
		"no right to end it":    {Action: "Unsubscribe", Before: func(localaws.Call) error { return denied }},
		"end unheard":           {Action: "Unsubscribe", After: func(localaws.Call) error { return localaws.ErrDrop }},
		"not deleted":           {Action: "DeleteQueue", Before: func(localaws.Call) error { return localaws.ErrDrop }},
		"deletion unheard":      {Action: "DeleteQueue", After: func(localaws.Call) error { return localaws.ErrDrop }},
	} {
		for kind, subscribed := range map[string]bool{"subscribed": true, "never subscribed": false} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				c := newCloud(t)
				c.makeQueue(here, c.topic)
				c.makeQueue(gone)
				if subscribed {
					c.makeQueue(gone, c.topic)
				}
				works := c.server.OnCall(fault)
				// No call is repeated, so that each fault reaches the code.
				c.SQS = sqs.New(c.sqs.Options(), func(o *sqs.Options) { o.Retryer = aws.NopRetryer{} })
				c.SNS = sns.New(c.sns.Options(), func(o *sns.Options) { o.Retryer = aws.NopRetryer{} })
				removed, err := c.Remove(t.Context(), gone)
				if removed || err == nil || !strings.Contains(err.Error(), `"rotatessh-`+gone+`"`) {
					t.Errorf("removed is %v, %v", removed, err)
				}
				works()
				if slices.Contains(c.subscribed(c.topic), "rotatessh-"+gone) && !slices.Contains(c.queues(), "rotatessh-"+gone) {
					t.Error("a subscription is left that nothing leads to")
				}
				if _, err := c.Sweep(t.Context()); err != nil {
					t.Error(err)
				}
				c.want("queues", c.queues()) // EC2 knows none of the instances
				c.want("subscriptions", c.subscribed(c.topic))
			})
		}
	}
}

func TestTwoInvocationsRemoveOneQueue(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.makeQueue(gone, c.topic)
	// Each invocation waits before its call until the other one is there too.
	for _, action := range []string{"Subscribe", "Unsubscribe", "DeleteQueue"} {
		var both sync.WaitGroup
		both.Add(2)
		c.server.OnCall(localaws.Fault{Action: action, Before: func(localaws.Call) error { both.Done(); both.Wait(); return nil }})
	}
	var invocations sync.WaitGroup
	for range 2 {
		invocations.Go(func() {
			if _, err := c.Remove(t.Context(), gone); err != nil {
				t.Error(err)
			}
		})
	}
	invocations.Wait()
	c.want("queues", c.queues())
	c.want("subscriptions", c.subscribed(c.topic))
}

// broken is an EC2 that does not answer.
type broken struct{}

func (broken) DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	return nil, errors.New("throttled")
}

func TestQueuesOfInstancesThatAreGoneAreSwept(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	dead, kept := []string{gone}, map[string]bool{gone + "-dead-letters": true, "other": true}
	for n := range 450 {
		i, err := c.server.RunInstance(localaws.Instance{NoMetadata: true})
		if err != nil {
			t.Fatal(err)
		}
		state := []string{"running", "stopped", "terminated"}[n%3]
		if err := c.server.SetInstanceState(i.ID, state); err != nil {
			t.Fatal(err)
		}
		if state == "terminated" {
			dead = append(dead, i.ID)
		} else {
			kept[i.ID] = true
		}
	}
	for _, id := range slices.AppendSeq(slices.Clone(dead), maps.Keys(kept)) {
		c.makeQueue(id, c.topic)
	}
	if _, err := c.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("elsewhere-" + gone)}); err != nil {
		t.Fatal(err)
	}
	blind := *c.Remover
	blind.EC2 = broken{}
	if removed, err := blind.Sweep(t.Context()); err == nil || len(removed) > 0 {
		t.Errorf("without EC2's answer %v were removed, %v", removed, err)
	}
	slices.Sort(dead)
	for _, want := range [][]string{dead, nil} {
		removed, err := c.Sweep(t.Context())
		slices.Sort(removed)
		if diff := cmp.Diff(want, removed); diff != "" || err != nil {
			t.Errorf("%v, removed (-want +got):\n%s", err, diff)
		}
	}
	var names []string
	for id := range kept {
		names = append(names, "rotatessh-"+id)
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, c.subscribed(c.topic)); diff != "" {
		t.Errorf("subscriptions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Insert(names, 0, "elsewhere-"+gone), c.queues()); diff != "" {
		t.Errorf("queues (-want +got):\n%s", diff)
	}
}
