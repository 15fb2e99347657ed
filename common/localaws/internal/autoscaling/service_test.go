package autoscaling_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/localaws/internal/autoscaling"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wiretest"
)

func serve(t *testing.T) (*autoscaling.Service, *sdk.Client) {
	t.Helper()
	s := autoscaling.New(autoscaling.Deps{Region: wiretest.Region, Account: wiretest.Account,
		Instance: func(id string) (zone, kind string, ok bool) { return "us-east-1" + id[len(id)-1:], "m7g.medium", true }})
	return s, sdk.NewFromConfig(wiretest.Serve(t, map[string]wire.Handler{"autoscaling": s}))
}

func TestAGroupShowsItsInstances(t *testing.T) {
	s, c := serve(t)
	s.Put(autoscaling.Group{Name: "workers", Members: map[string]string{"i-b": "InService"}})
	s.Put(autoscaling.Group{Name: "workers", Members: map[string]string{"i-a": "InService", "i-b": "Terminating:Wait"}})
	s.Put(autoscaling.Group{Name: "elsewhere", Region: "eu-west-1"})
	s.Put(autoscaling.Group{Name: "others", Account: "444455556666"})
	out, err := c.DescribeAutoScalingGroups(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.AutoScalingGroups) != 1 {
		t.Fatalf("groups are %+v", out.AutoScalingGroups)
	}
	g := out.AutoScalingGroups[0]
	got := []string{aws.ToString(g.AutoScalingGroupName)}
	for _, i := range g.Instances {
		got = append(got, aws.ToString(i.InstanceId)+" "+string(i.LifecycleState)+" "+aws.ToString(i.AvailabilityZone))
	}
	if diff := cmp.Diff([]string{"workers", "i-a InService us-east-1a", "i-b Terminating:Wait us-east-1b"}, got); diff != "" {
		t.Errorf("the group (-want +got):\n%s", diff)
	}
	if aws.ToInt32(g.DesiredCapacity) != 2 || g.CreatedTime == nil || len(g.AvailabilityZones) != 2 {
		t.Errorf("the group is %+v", g)
	}
}

func TestGroupsComeInPagesAndByName(t *testing.T) {
	s, c := serve(t)
	var all, names []string
	for n := range 7 {
		name := fmt.Sprintf("group-%d", n)
		s.Put(autoscaling.Group{Name: name})
		all = append(all, name)
	}
	pages := sdk.NewDescribeAutoScalingGroupsPaginator(c, &sdk.DescribeAutoScalingGroupsInput{MaxRecords: aws.Int32(3)})
	count := 0
	for ; pages.HasMorePages(); count++ {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range page.AutoScalingGroups {
			names = append(names, aws.ToString(g.AutoScalingGroupName))
		}
	}
	if diff := cmp.Diff(all, names); diff != "" || count != 3 {
		t.Errorf("%d pages (-want +got):\n%s", count, diff)
	}
	out, err := c.DescribeAutoScalingGroups(t.Context(), &sdk.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{"group-5", "none", "group-2"}})
	if err != nil || len(out.AutoScalingGroups) != 2 {
		t.Errorf("two of three names exist: %+v, %v", out, err)
	}
}

func TestWhatIsNotKnownIsRefused(t *testing.T) {
	_, c := serve(t)
	for name, call := range map[string]func() error{
		"ValidationError": func() error {
			_, err := c.DescribeAutoScalingGroups(t.Context(), &sdk.DescribeAutoScalingGroupsInput{MaxRecords: aws.Int32(101)})
			return err
		},
		"InvalidNextToken": func() error {
			_, err := c.DescribeAutoScalingGroups(t.Context(), &sdk.DescribeAutoScalingGroupsInput{NextToken: aws.String("%")})
			return err
		},
		"InvalidAction": func() error {
			_, err := c.DescribePolicies(t.Context(), nil)
			return err
		},
	} {
		var coded smithy.APIError
		if err := call(); !errors.As(err, &coded) || coded.ErrorCode() != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}
