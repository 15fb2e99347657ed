package queues

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// EC2 is what a Remover needs of the SDK's client.
type EC2 interface {
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
}

// filterSize is how many values a filter of DescribeInstances takes.
const filterSize = 200

var instanceForm = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)

// Sweep removes the queues of all instances that EC2 shows as terminated or does not know any more, as Remove
// does, and gives their ids: the event that an instance is terminated may get lost. A machine whose queue was
// removed by mistake makes another one and subscribes it.
func (r *Remover) Sweep(ctx context.Context) (removed []string, err error) {
	ids, err := r.owners(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for batch := range slices.Chunk(ids, filterSize) {
		alive, err := r.alive(ctx, batch)
		if err != nil {
			return removed, errors.Join(append(errs, err)...) // nobody is taken for dead on an answer that is missing
		}
		for _, id := range batch {
			if alive[id] {
				continue
			}
			gone, err := r.Remove(ctx, id)
			errs = append(errs, err)
			if gone {
				removed = append(removed, id)
			}
		}
	}
	return removed, errors.Join(errs...)
}

// owners are the ids of the instances that have a queue.
func (r *Remover) owners(ctx context.Context) ([]string, error) {
	var ids []string
	pages := sqs.NewListQueuesPaginator(r.SQS, &sqs.ListQueuesInput{QueueNamePrefix: aws.String(r.Prefix + "i-"), MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing queues: %w", err)
		}
		for _, url := range page.QueueUrls {
			name := url[strings.LastIndexByte(url, '/')+1:]
			if id := strings.TrimPrefix(name, r.Prefix); instanceForm.MatchString(id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// alive tells which instances there are that may still use their queue, stopped ones included.
func (r *Remover) alive(ctx context.Context, ids []string) (map[string]bool, error) {
	alive := make(map[string]bool, len(ids))
	pages := ec2.NewDescribeInstancesPaginator(r.EC2, &ec2.DescribeInstancesInput{
		MaxResults: aws.Int32(1000), Filters: []ec2types.Filter{{Name: aws.String("instance-id"), Values: ids}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("looking for the instances that have queues: %w", err)
		}
		for _, reservation := range page.Reservations {
			for _, i := range reservation.Instances {
				terminated := i.State != nil && i.State.Name == ec2types.InstanceStateNameTerminated
				alive[aws.ToString(i.InstanceId)] = !terminated
			}
		}
	}
	return alive, nil
}
