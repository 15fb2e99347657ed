// Package queues tidies up after workers: the SQS queue of an instance that is gone for good. Agents make
// their queues themselves, and cannot remove them when their machine is terminated.
package queues

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// SQS is what a Remover needs of the SDK's client.
type SQS interface {
	ListQueues(context.Context, *sqs.ListQueuesInput, ...func(*sqs.Options)) (*sqs.ListQueuesOutput, error)
	GetQueueUrl(context.Context, *sqs.GetQueueUrlInput, ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error)
	DeleteQueue(context.Context, *sqs.DeleteQueueInput, ...func(*sqs.Options)) (*sqs.DeleteQueueOutput, error)
}

// Remover removes queues that are named a prefix and an instance id. It is safe for concurrent use.
type Remover struct {
	api       SQS
	instances EC2
	prefix    string
}

// New gives a Remover for the prefix that the agents are configured with.
func New(api SQS, instances EC2, prefix string) *Remover {
	return &Remover{api: api, instances: instances, prefix: prefix}
}

// Remove deletes the queue of an instance, for good. One that has none is no error; removed tells. Its
// subscription to the topic stays, as a delivery that fails without anybody's harm.
func (r *Remover) Remove(ctx context.Context, instanceID string) (removed bool, err error) {
	name := r.prefix + instanceID
	out, err := r.api.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if err == nil {
		_, err = r.api.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: out.QueueUrl})
	}
	var none *types.QueueDoesNotExist
	switch {
	case errors.As(err, &none):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("deleting queue %q: %w", name, err)
	}
	return true, nil
}
