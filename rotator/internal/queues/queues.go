// Package queues tidies up after workers: the SQS queue of an instance that is gone for good, and the queue's
// subscription to the topic. Agents make both themselves, and cannot remove them when their machine is terminated.
//
// It believes nothing that a worker may have written. What else was subscribed to a removed queue than the topic
// stays as it is.
package queues

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// SQS is what a Remover needs of the SDK's client.
type SQS interface {
	ListQueues(context.Context, *sqs.ListQueuesInput, ...func(*sqs.Options)) (*sqs.ListQueuesOutput, error)
	GetQueueUrl(context.Context, *sqs.GetQueueUrlInput, ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error)
	GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
	DeleteQueue(context.Context, *sqs.DeleteQueueInput, ...func(*sqs.Options)) (*sqs.DeleteQueueOutput, error)
}

// SNS is what a Remover needs of the SDK's client.
type SNS interface {
	Subscribe(context.Context, *sns.SubscribeInput, ...func(*sns.Options)) (*sns.SubscribeOutput, error)
	Unsubscribe(context.Context, *sns.UnsubscribeInput, ...func(*sns.Options)) (*sns.UnsubscribeOutput, error)
}

// Remover removes queues that are named a prefix and an instance id, with their subscriptions. It is safe for
// concurrent use.
type Remover struct {
	SQS    SQS
	SNS    SNS
	EC2    EC2
	Prefix string // as the agents are configured with
	Topic  string // name of the topic that the agents subscribe to, in the region and account of their queues
}

// Remove deletes the queue of an instance and its subscription, for good. That there is no queue is no error; removed
// tells. The subscription goes first, because nothing but the queue leads to it: whatever fails, the next Remove or
// Sweep completes.
func (r *Remover) Remove(ctx context.Context, instanceID string) (removed bool, err error) {
	name := r.Prefix + instanceID
	err = r.remove(ctx, name)
	if _, none := errors.AsType[*types.QueueDoesNotExist](err); none {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("removing queue %q: %w", name, err)
	}
	return true, nil
}

func (r *Remover) remove(ctx context.Context, name string) error {
	queue, err := r.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		return err
	}
	out, err := r.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: queue.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	if err != nil {
		return err
	}
	if err := r.unsubscribe(ctx, out.Attributes[string(types.QueueAttributeNameQueueArn)]); err != nil {
		return fmt.Errorf("ending its subscription to topic %q: %w", r.Topic, err)
	}
	_, err = r.SQS.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: queue.QueueUrl})
	return err
}

// unsubscribe ends the subscription of a queue to the topic. SNS ends one by its ARN alone, and lists those of a
// topic by the hundred, which is too dear for each instance of a large fleet. But a queue is subscribed to a topic
// once at most, and subscribing it again gives the ARN of the subscription that is there: it comes from SNS, and no
// worker can put another's in its place. A queue without a subscription has one for a moment, which a crash may
// leave until the queue goes.
//
// Caveat: a subscription stays for good if one invocation crashes in that moment while another removes the queue.
func (r *Remover) unsubscribe(ctx context.Context, queueARN string) error {
	topic, err := arn.Parse(queueARN)
	if err != nil {
		return fmt.Errorf("the queue's ARN %q: %w", queueARN, err)
	}
	topic.Service, topic.Resource = "sns", r.Topic
	subscription, err := r.SNS.Subscribe(ctx, &sns.SubscribeInput{
		// Without attributes, since with others than the agent's the answer would be an error.
		TopicArn: aws.String(topic.String()), Protocol: aws.String("sqs"), Endpoint: &queueARN, ReturnSubscriptionArn: true,
	})
	if err == nil {
		_, err = r.SNS.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: subscription.SubscriptionArn})
	}
	// The topic's end is that of all its subscriptions, and another invocation may have been faster.
	if _, gone := errors.AsType[*snstypes.NotFoundException](err); gone {
		return nil
	}
	return err
}
