package push

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"golang.org/x/sync/errgroup"
)

const (
	batchSize      = 50 // instance ids that SendCommand takes
	batches        = 4  // at once
	maxConcurrency = "25"
	// maxErrors ends a command that goes wrong on one machine after another, before it has met all of them.
	maxErrors        = "10"
	deliveryTimeout  = 60 * time.Second
	executionTimeout = 120 * time.Second
	firstPoll        = 200 * time.Millisecond
	lastPoll         = 5 * time.Second
)

// The codes of failures that do not come from the script.
const (
	CodeUnmanaged = "not-managed" // Systems Manager does not reach the instance
	CodeCommand   = "command"     // the command itself did not do
)

// SSM is what a Pusher needs of the SDK's client.
type SSM interface {
	DescribeInstanceInformation(context.Context, *ssm.DescribeInstanceInformationInput, ...func(*ssm.Options)) (*ssm.DescribeInstanceInformationOutput, error)
	SendCommand(context.Context, *ssm.SendCommandInput, ...func(*ssm.Options)) (*ssm.SendCommandOutput, error)
	ListCommandInvocations(context.Context, *ssm.ListCommandInvocationsInput, ...func(*ssm.Options)) (*ssm.ListCommandInvocationsOutput, error)
	GetCommandInvocation(context.Context, *ssm.GetCommandInvocationInput, ...func(*ssm.Options)) (*ssm.GetCommandInvocationOutput, error)
}

// Pusher pushes documents to instances. It is safe for concurrent use.
type Pusher struct{ api SSM }

// NewPusher gives a Pusher.
func NewPusher(api SSM) *Pusher { return &Pusher{api: api} }

// Push brings the instances to d and gives what became of it on each of them, by instance id. It returns when
// all are done, or have run into Systems Manager's time-outs, or ctx ends: those that it has not heard of by
// then have failed.
func (p *Pusher) Push(ctx context.Context, instances []string, d Document) map[string]Result {
	results := make(map[string]Result, len(instances))
	script, err := d.Script()
	if err != nil {
		for _, id := range instances {
			results[id] = failure(CodeCommand, "%v", err)
		}
		return results
	}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(batches)
	for len(instances) > 0 {
		batch := instances[:min(batchSize, len(instances))]
		instances = instances[len(batch):]
		g.Go(func() error {
			got := p.batch(ctx, batch, d, script)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(results, got)
			return nil
		})
	}
	_ = g.Wait()
	return results
}

// batch pushes to as many instances as one command takes.
func (p *Pusher) batch(ctx context.Context, ids []string, d Document, script string) map[string]Result {
	results := make(map[string]Result, len(ids))
	managed, err := p.managed(ctx, ids)
	for _, id := range ids {
		results[id] = failure(CodeUnmanaged, "Systems Manager does not know the instance, or has lost contact with its agent")
		if managed[id] || err != nil {
			results[id] = failure(CodeCommand, "it has not answered in time")
		}
	}
	var online []string
	for _, id := range ids {
		if managed[id] {
			online = append(online, id)
		}
	}
	if err == nil && len(online) > 0 {
		err = p.run(ctx, online, script, func(id string, out *ssm.GetCommandInvocationOutput) { results[id] = d.read(out) })
	}
	if err != nil {
		for id, r := range results {
			if r.Code == CodeCommand {
				results[id] = failure(CodeCommand, "%v", err)
			}
		}
	}
	return results
}

// managed are the instances that Systems Manager reaches: one that it does not makes it refuse the command for
// all the others.
func (p *Pusher) managed(ctx context.Context, ids []string) (map[string]bool, error) {
	online := make(map[string]bool, len(ids))
	pages := ssm.NewDescribeInstanceInformationPaginator(p.api, &ssm.DescribeInstanceInformationInput{
		MaxResults: aws.Int32(batchSize), Filters: []types.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: ids}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("asking which instances are managed: %w", err)
		}
		for _, i := range page.InstanceInformationList {
			online[aws.ToString(i.InstanceId)] = i.PingStatus == types.PingStatusOnline
		}
	}
	return online, nil
}

// run sends the script and calls done for each instance on which it has ended.
func (p *Pusher) run(ctx context.Context, ids []string, script string, done func(string, *ssm.GetCommandInvocationOutput)) error {
	sent, err := p.api.SendCommand(ctx, &ssm.SendCommandInput{
		DocumentName: aws.String("AWS-RunShellScript"), InstanceIds: ids, Comment: aws.String("rotatessh: bring authorized_keys up to date"),
		MaxConcurrency: aws.String(maxConcurrency), MaxErrors: aws.String(maxErrors), TimeoutSeconds: aws.Int32(int32(deliveryTimeout.Seconds())),
		Parameters: map[string][]string{"commands": {script}, "executionTimeout": {strconv.Itoa(int(executionTimeout.Seconds()))}},
	})
	if err != nil {
		return fmt.Errorf("sending the command: %w", err)
	}
	command := sent.Command.CommandId
	ctx, cancel := context.WithTimeoutCause(ctx, deliveryTimeout+executionTimeout, errors.New("the command has not ended in time"))
	defer cancel()
	waiting := make(map[string]bool, len(ids))
	for _, id := range ids {
		waiting[id] = true
	}
	for wait := firstPoll; ; wait = min(wait*3/2, lastPoll) {
		if err := p.collect(ctx, command, waiting, done); err != nil || len(waiting) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// collect reads the outputs of the invocations that have ended since, and takes them off waiting. Listing
// tells which; only the single read gives the whole output.
func (p *Pusher) collect(ctx context.Context, command *string, waiting map[string]bool, done func(string, *ssm.GetCommandInvocationOutput)) error {
	pages := ssm.NewListCommandInvocationsPaginator(p.api, &ssm.ListCommandInvocationsInput{CommandId: command, MaxResults: aws.Int32(batchSize)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("following the command: %w", err)
		}
		for _, i := range page.CommandInvocations {
			id := aws.ToString(i.InstanceId)
			if !waiting[id] || !over(i.Status) {
				continue
			}
			out, err := p.api.GetCommandInvocation(ctx, &ssm.GetCommandInvocationInput{CommandId: command, InstanceId: &id})
			if err != nil {
				return fmt.Errorf("reading what the command printed: %w", err)
			}
			done(id, out)
			delete(waiting, id)
		}
	}
	return nil
}

func over(s types.CommandInvocationStatus) bool {
	switch s {
	case types.CommandInvocationStatusPending, types.CommandInvocationStatusInProgress, types.CommandInvocationStatusDelayed, types.CommandInvocationStatusCancelling:
		return false
	}
	return true
}

func (d Document) read(out *ssm.GetCommandInvocationOutput) Result {
	r := d.parse(aws.ToString(out.StandardOutputContent))
	if r.Code == "no-answer" && out.Status != types.CommandInvocationStatusSuccess {
		return failure(CodeCommand, "the command ended as %s", aws.ToString(out.StatusDetails))
	}
	return r
}
