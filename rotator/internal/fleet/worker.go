// Package fleet knows who the workers are and who of them is ready. Who is expected comes from the EC2
// inventory alone; what a worker says about itself can make it ready or not, never make it expected or let
// it be forgotten.
package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Worker is one machine as the inventory has it.
type Worker struct {
	ARN      string // instance ARN, under which the worker acknowledges
	ID       string // instance id
	Name     string // its Name tag, possibly empty
	Address  string // where to reach it: the private IPv4 address, or the IPv6 one if there is no other
	Zone     string // availability zone
	Launched time.Time
}

// EC2 is what an Inventory needs of the SDK's client.
type EC2 interface {
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
	Options() ec2.Options
}

// pageSize is the largest that DescribeInstances allows. Asking without one is throttled harder.
const pageSize = 1000

// Inventory lists the running instances that bear one tag. It is safe for concurrent use.
type Inventory struct {
	api        EC2
	name, tag  string
	arnPattern string
}

// NewInventory gives the inventory of the client's region for the tag of that name and value.
func NewInventory(api EC2, tagName, tagValue string) *Inventory {
	region := api.Options().Region
	return &Inventory{
		api: api, name: tagName, tag: tagValue,
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

// Workers reads the whole inventory, ordered by instance id. A page that cannot be read makes it fail: a
// shorter list would pass for a smaller fleet.
func (i *Inventory) Workers(ctx context.Context) ([]Worker, error) {
	pages := ec2.NewDescribeInstancesPaginator(i.api, &ec2.DescribeInstancesInput{
		MaxResults: aws.Int32(pageSize),
		Filters: []types.Filter{
			{Name: aws.String("tag:" + i.name), Values: []string{i.tag}},
			{Name: aws.String("instance-state-name"), Values: []string{string(types.InstanceStateNameRunning)}},
		},
	})
	var workers []Worker
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing instances tagged %s=%s: %w", i.name, i.tag, err)
		}
		for _, r := range page.Reservations {
			for _, instance := range r.Instances {
				workers = append(workers, i.worker(aws.ToString(r.OwnerId), instance))
			}
		}
	}
	slices.SortFunc(workers, func(a, b Worker) int { return strings.Compare(a.ID, b.ID) })
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

// ARNs are the workers' ARNs, in their order.
func ARNs(workers []Worker) []string {
	arns := make([]string, len(workers))
	for i, w := range workers {
		arns[i] = w.ARN
	}
	return arns
}
