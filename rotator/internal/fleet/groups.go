package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
)

// AutoScaling is what Groups need of the SDK's client.
type AutoScaling interface {
	DescribeAutoScalingGroups(context.Context, *autoscaling.DescribeAutoScalingGroupsInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeAutoScalingGroupsOutput, error)
}

// Place is where groups may be: one region of one account.
type Place struct {
	Groups    AutoScaling
	Instances *Inventory
}

// Groups list the running instances of Auto Scaling groups. Those that are being terminated are not listed; those that
// are pending, on standby or in a warm pool are, since they may be in service before the next rotation.
type Groups struct {
	places []Place
	names  []string
}

// NewGroups gives the groups of these names, wherever they are among the places.
func NewGroups(names []string, places ...Place) *Groups {
	return &Groups{places: places, names: names}
}

// namesPerCall is how many groups are asked for at once, which DescribeAutoScalingGroups answers in one page.
const namesPerCall = 50

// Workers implements Source. A group that is nowhere is an error: its name was misspelt, or it was deleted and its
// workers with it, and only an operator knows which.
func (g *Groups) Workers(ctx context.Context) ([]Worker, error) {
	var mu sync.Mutex
	missing := make(map[string]bool)
	for _, name := range g.names {
		missing[name] = true
	}
	lists, err := all(ctx, g.places, func(ctx context.Context, p Place) ([]Worker, error) {
		ids, found, err := p.members(ctx, g.names)
		if err != nil {
			return nil, fmt.Errorf("listing Auto Scaling groups in %s: %w", p.Instances.region, err)
		}
		mu.Lock()
		for _, name := range found {
			delete(missing, name)
		}
		mu.Unlock()
		return p.Instances.byID(ctx, ids)
	})
	if err != nil {
		return nil, err
	}
	for _, name := range g.names {
		if missing[name] {
			return nil, fmt.Errorf("there is no Auto Scaling group %q: mend its name, or take it out of ROTATESSH_AUTO_SCALING_GROUPS", name)
		}
	}
	return merge(lists), nil
}

// members are the instances of those of the groups that are here, and the groups' names.
func (p Place) members(ctx context.Context, names []string) (ids, found []string, err error) {
	for some := range slices.Chunk(names, namesPerCall) {
		pages := autoscaling.NewDescribeAutoScalingGroupsPaginator(p.Groups, &autoscaling.DescribeAutoScalingGroupsInput{
			AutoScalingGroupNames: some, MaxRecords: aws.Int32(namesPerCall),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, nil, err
			}
			for _, group := range page.AutoScalingGroups {
				found = append(found, aws.ToString(group.AutoScalingGroupName))
				ids = append(ids, staying(group.Instances)...)
			}
		}
	}
	return ids, found, nil
}

// staying leaves out what is about to be terminated, in whatever phase of it, or has been detached.
func staying(instances []types.Instance) []string {
	var ids []string
	for _, i := range instances {
		state := string(i.LifecycleState)
		if strings.HasPrefix(state, "Terminat") || strings.HasPrefix(state, "Detach") {
			continue
		}
		ids = append(ids, aws.ToString(i.InstanceId))
	}
	return ids
}
