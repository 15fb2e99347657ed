package ec2_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/rotatessh/rotatessh/common/localaws/internal/ec2"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wiretest"
)

func newService(t testing.TB) (*ec2.Service, *sdk.Client) {
	t.Helper()
	s := ec2.New(ec2.Deps{Region: wiretest.Region, Account: wiretest.Account})
	return s, sdk.NewFromConfig(wiretest.Serve(t, map[string]wire.Handler{"ec2": s}))
}

func run(t testing.TB, s *ec2.Service, in ec2.Instance) ec2.Instance {
	t.Helper()
	out, err := s.Run(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

// find pages through DescribeInstances and returns the ids that it answered.
func find(t testing.TB, c *sdk.Client, in *sdk.DescribeInstancesInput) (ids []string, pages int) {
	t.Helper()
	p := sdk.NewDescribeInstancesPaginator(c, in)
	for p.HasMorePages() {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				ids = append(ids, aws.ToString(i.InstanceId))
			}
		}
	}
	return ids, pages
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("error = %v, want %s", err, code)
	}
}

func TestAnInstanceIsDescribedAsItWasRun(t *testing.T) {
	s, c := newService(t)
	launched := time.Date(2026, 11, 24, 10, 30, 0, 0, time.UTC)
	want := run(t, s, ec2.Instance{PrivateIP: "10.1.2.3", AZ: "us-east-1b", LaunchTime: launched, Tags: map[string]string{"RotateSSHKeys": "True", "Name": "a <b> & \"c\""}})
	out, err := c.DescribeInstances(t.Context(), &sdk.DescribeInstancesInput{InstanceIds: []string{want.ID}})
	if err != nil {
		t.Fatal(err)
	}
	got := out.Reservations[0].Instances[0]
	tags := map[string]string{}
	for _, tag := range got.Tags {
		tags[*tag.Key] = *tag.Value
	}
	switch {
	case aws.ToString(got.PrivateIpAddress) != "10.1.2.3", aws.ToString(got.Placement.AvailabilityZone) != "us-east-1b",
		got.State.Name != types.InstanceStateNameRunning, aws.ToInt32(got.State.Code) != 16,
		!aws.ToTime(got.LaunchTime).Equal(launched), aws.ToString(out.Reservations[0].OwnerId) != wiretest.Account:
		t.Errorf("described as %+v", got)
	case len(tags) != 2 || tags["RotateSSHKeys"] != "True" || tags["Name"] != "a <b> & \"c\"":
		t.Errorf("tags = %v", tags)
	case want.ARN != "arn:aws:ec2:us-east-1:111122223333:instance/"+want.ID:
		t.Errorf("ARN = %s", want.ARN)
	}
}

func TestFiltersChooseInstances(t *testing.T) {
	s, c := newService(t)
	for i, in := range []ec2.Instance{
		{State: "running", Tags: map[string]string{"RotateSSHKeys": "True", "Role": "web"}},
		{State: "stopped", Tags: map[string]string{"RotateSSHKeys": "True", "Role": "db"}},
		{State: "running", Tags: map[string]string{"RotateSSHKeys": "true"}, PrivateIP: "10.9.9.9"},
		{State: "running"},
		{State: "terminated", Tags: map[string]string{"Role": "w*b"}},
	} {
		in.ID = fmt.Sprintf("i-0000000000000000%d", i)
		run(t, s, in)
	}
	tests := []struct {
		name    string
		filters []types.Filter
		want    string
	}{
		{"tag", []types.Filter{filter("tag:RotateSSHKeys", "True")}, "01"},
		{"tag and state", []types.Filter{filter("tag:RotateSSHKeys", "True"), filter("instance-state-name", "running")}, "0"},
		{"several values", []types.Filter{filter("tag:RotateSSHKeys", "True", "true")}, "012"},
		{"tag key", []types.Filter{filter("tag-key", "Role")}, "014"},
		{"wildcard", []types.Filter{filter("tag:Role", "w*")}, "04"},
		{"one character", []types.Filter{filter("tag:Role", "?b")}, "1"},
		{"escaped wildcard", []types.Filter{filter("tag:Role", `w\*b`)}, "4"},
		{"state", []types.Filter{filter("instance-state-name", "stopped", "terminated")}, "14"},
		{"state code", []types.Filter{filter("instance-state-code", "80")}, "1"},
		{"id", []types.Filter{filter("instance-id", "i-00000000000000003")}, "3"},
		{"address", []types.Filter{filter("private-ip-address", "10.9.9.9")}, "2"},
		{"nothing", []types.Filter{filter("tag:Role", "mail")}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ids, _ := find(t, c, &sdk.DescribeInstancesInput{Filters: tt.filters})
			got := ""
			for _, id := range ids {
				got += id[len(id)-1:]
			}
			if got != tt.want {
				t.Errorf("instances %q, want %q", got, tt.want)
			}
		})
	}
	_, err := c.DescribeInstances(t.Context(), &sdk.DescribeInstancesInput{Filters: []types.Filter{filter("tags:Role", "web")}})
	wantCode(t, err, "InvalidParameterValue")
}

func TestPagesCoverTheFleetWhileItChanges(t *testing.T) {
	s, c := newService(t)
	var want []string
	for range 25 {
		want = append(want, run(t, s, ec2.Instance{}).ID)
	}
	first, err := c.DescribeInstances(t.Context(), &sdk.DescribeInstancesInput{MaxResults: aws.Int32(10)})
	if err != nil || len(first.Reservations) != 10 || first.NextToken == nil {
		t.Fatalf("first page = %+v, %v", first, err)
	}
	s.Remove(want[9]) // the one at which the next page starts
	rest, pages := find(t, c, &sdk.DescribeInstancesInput{MaxResults: aws.Int32(10), NextToken: first.NextToken})
	if !slices.Equal(rest, want[10:]) || pages != 2 {
		t.Errorf("%d pages with %v, want 2 with %v", pages, rest, want[10:])
	}
	if ids, pages := find(t, c, &sdk.DescribeInstancesInput{MaxResults: aws.Int32(24)}); len(ids) != 24 || pages != 1 {
		t.Errorf("exactly one full page: %d instances in %d pages", len(ids), pages)
	}
}

func TestUnknownAndMalformedRequestsAreRefused(t *testing.T) {
	s, c := newService(t)
	known := run(t, s, ec2.Instance{}).ID
	describe := func(in *sdk.DescribeInstancesInput) error {
		_, err := c.DescribeInstances(t.Context(), in)
		return err
	}
	wantCode(t, describe(&sdk.DescribeInstancesInput{InstanceIds: []string{known, "i-0123456789abcdef0"}}), "InvalidInstanceID.NotFound")
	wantCode(t, describe(&sdk.DescribeInstancesInput{InstanceIds: []string{"worker-1"}}), "InvalidInstanceID.Malformed")
	wantCode(t, describe(&sdk.DescribeInstancesInput{InstanceIds: []string{known}, MaxResults: aws.Int32(5)}), "InvalidParameterCombination")
	wantCode(t, describe(&sdk.DescribeInstancesInput{MaxResults: aws.Int32(4)}), "InvalidParameterValue")
	wantCode(t, describe(&sdk.DescribeInstancesInput{NextToken: aws.String("!")}), "InvalidNextToken")
	_, err := c.RunInstances(t.Context(), &sdk.RunInstancesInput{MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
	wantCode(t, err, "InvalidAction")
}

func TestStatesAndTagsChange(t *testing.T) {
	s, c := newService(t)
	id := run(t, s, ec2.Instance{Tags: map[string]string{"a": "1", "b": "2"}}).ID
	if err := errors.Join(s.SetState(id, "terminated"), s.Tag(id, map[string]string{"b": "3", "c": "4"}), s.Untag(id, "a")); err != nil {
		t.Fatal(err)
	}
	got, _ := s.Get(id)
	if got.State != "terminated" || len(got.Tags) != 2 || got.Tags["b"] != "3" || got.Tags["c"] != "4" {
		t.Errorf("instance = %+v", got)
	}
	if s.SetState(id, "asleep") == nil || s.SetState("i-0", "running") == nil || s.SetTags("i-0", nil) == nil {
		t.Error("an unknown state or instance is taken")
	}
	_, err := c.CreateTags(t.Context(), &sdk.CreateTagsInput{Resources: []string{id}, Tags: []types.Tag{{Key: aws.String("RotateSSHKeys"), Value: aws.String("True")}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.DeleteTags(t.Context(), &sdk.DeleteTagsInput{Resources: []string{id}, Tags: []types.Tag{{Key: aws.String("b")}}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.DescribeTags(t.Context(), &sdk.DescribeTagsInput{Filters: []types.Filter{filter("resource-id", id), filter("key", "Rotate*")}})
	if err != nil || len(out.Tags) != 1 || aws.ToString(out.Tags[0].Value) != "True" {
		t.Errorf("tags = %+v, %v", out, err)
	}
	if got, _ := s.Get(id); len(got.Tags) != 2 {
		t.Errorf("tags = %v, want c and RotateSSHKeys", got.Tags)
	}
	if _, err := s.Run(ec2.Instance{ID: id}); err == nil {
		t.Error("a second instance of one id runs")
	}
}

func BenchmarkDescribeAllPages(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := ec2.New(ec2.Deps{Region: wiretest.Region, Account: wiretest.Account})
			for range n {
				run(b, s, ec2.Instance{Tags: map[string]string{"RotateSSHKeys": "True"}})
			}
			b.ResetTimer()
			for range b.N {
				describeAll(b, s, n)
			}
		})
	}
}

// describeAll pages without HTTP and XML decoding, which cost the same for every page.
func describeAll(b *testing.B, s *ec2.Service, want int) {
	b.Helper()
	form := url.Values{"Filter.1.Name": {"tag:RotateSSHKeys"}, "Filter.1.Value.1": {"True"}, "MaxResults": {"1000"}}
	total := 0
	for {
		r := &wire.Request{Service: "ec2", Action: "DescribeInstances", Protocol: wire.EC2Query, Form: form, Account: wiretest.Account}
		out, err := s.Handle(b.Context(), r)
		if err != nil {
			b.Fatal(err)
		}
		n, token := ec2.Page(out)
		total += n
		if token == "" {
			break
		}
		form.Set("NextToken", token)
	}
	if total != want {
		b.Fatalf("%d instances, want %d", total, want)
	}
}
