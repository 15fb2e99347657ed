package queues_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/queues"
)

// broken is an EC2 that does not answer.
type broken struct{}

func (broken) DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	return nil, errors.New("throttled")
}

func TestQueuesOfInstancesThatAreGoneAreSwept(t *testing.T) {
	t.Parallel()
	server, err := localaws.Start(localaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	cfg := aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(server.URL()), Credentials: credentials.NewStaticCredentialsProvider("AKIA", "x", "")}
	client := sqs.NewFromConfig(cfg)
	names := []string{"rotatessh-i-0123456789abcdef0", "rotatessh-i-0123456789abcdef0-dead-letters", "rotatessh-other", "elsewhere-i-0123456789abcdef0"}
	kept := slices.Clone(names[1:])
	gone := []string{"i-0123456789abcdef0"}
	for n := range 450 {
		i, err := server.RunInstance(localaws.Instance{NoMetadata: true})
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, "rotatessh-"+i.ID)
		state := []string{"running", "stopped", "terminated"}[n%3]
		if err := server.SetInstanceState(i.ID, state); err != nil {
			t.Fatal(err)
		}
		if state == "terminated" {
			gone = append(gone, i.ID)
		} else {
			kept = append(kept, "rotatessh-"+i.ID)
		}
	}
	for _, name := range names {
		if _, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name}); err != nil {
			t.Fatal(err)
		}
	}
	if removed, err := queues.New(client, broken{}, "rotatessh-").Sweep(t.Context()); err == nil || len(removed) > 0 {
		t.Errorf("without EC2's answer %v were removed, %v", removed, err)
	}
	sweeper := queues.New(client, ec2.NewFromConfig(cfg), "rotatessh-")
	for _, want := range [][]string{gone, nil} {
		removed, err := sweeper.Sweep(t.Context())
		slices.Sort(removed)
		slices.Sort(want)
		if diff := cmp.Diff(want, removed); diff != "" || err != nil {
			t.Errorf("%v, removed (-want +got):\n%s", err, diff)
		}
	}
	var left []string
	pages := sqs.NewListQueuesPaginator(client, &sqs.ListQueuesInput{MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, url := range page.QueueUrls {
			left = append(left, url[len(server.URL()+"/111122223333/"):])
		}
	}
	slices.Sort(left)
	slices.Sort(kept)
	if diff := cmp.Diff(kept, left); diff != "" {
		t.Errorf("queues (-want +got):\n%s", diff)
	}
}
