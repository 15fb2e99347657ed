package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unique"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// EC2 is what an Inventory needs of the SDK's client.
type EC2 interface {
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
	Options() ec2.Options
}

const (
	// pageSize is the largest that DescribeInstances allows. Asking without one is throttled harder.
	pageSize = 1000
	// maxValues is how many values the filters of one call may have together: 200, of which one is the state.
	maxValues = 199
)

// Inventory knows the running instances of one region of one account. It is safe for concurrent use.
type Inventory struct {
	api        EC2
	tags       Tags
	region     string
	arnPattern string
}

// NewInventory gives the inventory that the client reaches; tags say who of it is a worker.
func NewInventory(api EC2, tags Tags) *Inventory {
	region := api.Options().Region
	return &Inventory{
		api: api, tags: tags, region: region,
		arnPattern: "arn:" + partition(region) + ":ec2:" + region + ":%s:instance/%s",
	}
}

// partition is the part of AWS that a region belongs to, as ARNs name it.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// Workers implements Source: the instances that bear the tags.
func (i *Inventory) Workers(ctx context.Context) ([]Worker, error) {
	lists := make([][]Worker, len(i.tags))
	for n, alternative := range i.tags {
		var err error
		if lists[n], err = i.list(ctx, alternative.filters()); err != nil {
			return nil, fmt.Errorf("listing instances tagged %s in %s: %w", alternative, i.region, err)
		}
	}
	return merge(lists), nil
}

// Running gives those of the given instances that are running here.
func (i *Inventory) Running(ctx context.Context, arns []string) ([]Worker, error) {
	var ids []string
	wanted := make(map[string]bool)
	for _, arn := range arns {
		if parts := strings.Split(arn, ":"); len(parts) > 3 && parts[3] == i.region {
			wanted[arn] = true
			ids = append(ids, arn[strings.LastIndexByte(arn, '/')+1:])
		}
	}
	running, err := i.byID(ctx, ids)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(running, func(w Worker) bool { return !wanted[w.ARN] }), nil
}

// byID gives those of the instances that are running. A filter passes over an id that EC2 does not know any more, on
// which naming it outright would fail.
func (i *Inventory) byID(ctx context.Context, ids []string) ([]Worker, error) {
	var running []Worker
	for some := range slices.Chunk(ids, maxValues) {
		found, err := i.list(ctx, []types.Filter{{Name: aws.String("instance-id"), Values: some}})
		if err != nil {
			return nil, fmt.Errorf("looking for %d instances in %s: %w", len(some), i.region, err)
		}
		running = append(running, found...)
	}
	return running, nil
}

func (i *Inventory) list(ctx context.Context, filters []types.Filter) ([]Worker, error) {
	pages := ec2.NewDescribeInstancesPaginator(i.api, &ec2.DescribeInstancesInput{
		MaxResults: aws.Int32(pageSize),
		Filters:    append(filters, types.Filter{Name: aws.String("instance-state-name"), Values: []string{string(types.InstanceStateNameRunning)}}),
	})
	var workers []Worker
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Reservations {
			for _, instance := range r.Instances {
				workers = append(workers, i.worker(aws.ToString(r.OwnerId), instance))
			}
		}
	}
	return workers, nil
}

func (i *Inventory) worker(owner string, instance types.Instance) Worker {
	arn := fmt.Sprintf(i.arnPattern, owner, aws.ToString(instance.InstanceId))
	w := Worker{
		ARN:      arn,
		ID:       arn[strings.LastIndexByte(arn, '/')+1:],
		Address:  aws.ToString(instance.PrivateIpAddress),
		Launched: aws.ToTime(instance.LaunchTime),
	}
	if w.Address == "" {
		w.Address = aws.ToString(instance.Ipv6Address)
	}
	if instance.Placement != nil {
		w.Zone = unique.Make(aws.ToString(instance.Placement.AvailabilityZone)).Value() // one text for all that are there
	}
	for _, tag := range instance.Tags {
		if aws.ToString(tag.Key) == "Name" {
			w.Name = aws.ToString(tag.Value)
		}
	}
	return w
}
