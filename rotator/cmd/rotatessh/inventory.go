package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
	"github.com/rotatessh/rotatessh/rotator/internal/report"
)

// defaultTag is the rotator's default.
const defaultTag = "RotateSSHKeys=True"

const (
	// inventoryAge is how old the list of workers may get while something is watched, and listingShare how many times
	// as old as making it took: machines come and go slowly compared with acknowledgements, and a listing costs.
	inventoryAge = 30 * time.Second
	listingShare = 10
)

// inventoryFlags say where a command has its workers from.
type inventoryFlags struct{ tag, function string }

func (f *inventoryFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.tag, "tag", "", "list the running instances with the tag `NAME=VALUE` in --region, instead of asking the rotator for its workers")
	c.Flags().StringVar(&f.function, "function", defaultFunction, "name or ARN of the rotator's Lambda `function`, which is asked for its workers")
}

// inventory knows who the workers are. The rotator is asked, whose settings decide it and may name several regions,
// accounts and a list; where it cannot be, or the operator names a tag, the instances of one region are looked
// through for a tag. It is for one goroutine.
type inventory struct {
	ask      func(context.Context) ([]fleet.Worker, error) // nil: look for the tag
	tagged   fleet.Source
	where    string    // what tagged looks for, and in which region
	warnings io.Writer // hears once that the rotator could not be asked

	workers []fleet.Worker
	source  string // of workers, as reports name it
	next    time.Time
	warned  bool
}

// Workers gives the workers as of now, or as of a moment ago. A rotator that has answered once and cannot be asked for
// a while is still believed: the look-up by tag could pass for a fleet that has become smaller.
func (i *inventory) Workers(ctx context.Context) ([]fleet.Worker, error) {
	start := time.Now()
	if start.Before(i.next) {
		return i.workers, nil
	}
	workers, source, err := i.list(ctx)
	if err != nil {
		return nil, err
	}
	i.workers, i.source = workers, source
	i.next = time.Now().Add(max(inventoryAge, listingShare*time.Since(start)))
	return workers, nil
}

func (i *inventory) list(ctx context.Context) ([]fleet.Worker, string, error) {
	if i.ask != nil {
		workers, err := i.ask(ctx)
		why := unasked(err)
		switch {
		case err == nil:
			return workers, report.FromRotator, nil
		case why == "" || ctx.Err() != nil:
			return nil, "", withHint(fmt.Errorf("asking the rotator who its workers are: %w", err),
				"look for instances without the rotator by --tag %s", defaultTag)
		case i.source == report.FromRotator:
			return i.workers, i.source, nil
		}
		i.warn(why)
	}
	workers, err := i.tagged.Workers(ctx)
	return workers, report.FromTag, err
}

func (i *inventory) warn(why string) {
	if !i.warned {
		fmt.Fprintf(i.warnings, "rotatessh: note: the rotator was not asked for its workers (%s): what follows is about the running instances with %s\n", why, i.where)
		i.warned = true
	}
}

// notes say what a report that rests on the workers may be wrong about.
func (i *inventory) notes() []string {
	if i.ask == nil || i.source == report.FromRotator {
		return nil
	}
	return []string{fmt.Sprintf("these are the running instances with %s: the rotator, whose settings may name more, was not asked", i.where)}
}

// nobody says that there is no worker of that name.
func (i *inventory) nobody(name string) error {
	if i.source == report.FromRotator {
		return fmt.Errorf("the rotator has no worker that is called %q", name)
	}
	return fmt.Errorf("no running instance with %s is called %q", i.where, name)
}

// unasked says why a rotator could not be asked at all, or "" if err says something else: that it was, and failed.
func unasked(err error) string {
	if err != nil && operator.IsUnknown(err.Error()) {
		return "it is of a version that cannot tell them"
	}
	if call, failed := errors.AsType[*smithy.OperationError](err); !failed || call.ServiceID != lambda.ServiceID {
		return ""
	}
	var coded interface{ ErrorCode() string }
	if errors.As(err, &coded) {
		switch code := coded.ErrorCode(); {
		case strings.HasPrefix(code, "AccessDenied"):
			return "these credentials lack lambda:InvokeFunction on it"
		case code == "ResourceNotFoundException":
			return "there is no such function, see --function"
		case code == "TooManyRequestsException":
			return "it is busy"
		}
	}
	if _, unsent := errors.AsType[*smithyhttp.RequestSendError](err); unsent {
		return "Lambda cannot be reached from here"
	}
	return ""
}

// rotatorsWorkers asks the rotator for its workers, page by page. Reading may be repeated, so the SDK does.
func (b *backend) rotatorsWorkers(cfg aws.Config, function string) func(context.Context) ([]fleet.Worker, error) {
	client := newLambda(cfg)
	return func(ctx context.Context) ([]fleet.Worker, error) {
		secret, err := b.describe(ctx)
		if err != nil {
			return nil, err
		}
		req := operator.New(operator.Workers, secret.ARN, actor(ctx, cfg))
		var workers []fleet.Worker
		for {
			payload, err := call(ctx, client, function, req)
			if err != nil {
				return nil, err
			}
			var page operator.Listing
			if err := json.Unmarshal(payload, &page); err != nil || page.Request != operator.Workers || page.Next != "" && page.Next <= req.After {
				return nil, errNoRotator()
			}
			for _, w := range page.Workers {
				workers = append(workers, fleet.Worker{
					ARN: w.ARN, ID: ledger.InstanceID(w.ARN), Name: w.Name, Address: w.Address, Zone: w.Zone, Launched: w.Launched, Untagged: w.Untagged,
				})
			}
			if req.After = page.Next; page.Next == "" {
				return workers, nil
			}
		}
	}
}
