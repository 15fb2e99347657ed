package fleet_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/awsconf"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

const (
	role       = "arn:aws:iam::444455556666:role/inventory"
	otherOwner = "444455556666"
)

// world is an endpoint that several regions and accounts share.
type world struct {
	*testing.T
	aws *localaws.Server
}

func newWorld(t *testing.T) world {
	t.Helper()
	server, err := localaws.Start(localaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Log(err)
		}
	})
	server.CreateRole(role)
	return world{t, server}
}

// config reaches one region of the endpoint's own account, or of the role's.
func (w world) config(region, role string) aws.Config {
	w.Helper()
	cfg, err := awsconf.Load(w.Context(), awsconf.Options{Region: region})
	if err != nil {
		w.Fatal(err)
	}
	cfg.BaseEndpoint = aws.String(w.aws.URL())
	cfg.Credentials = credentials.NewStaticCredentialsProvider("AKIAOPERATOR", "secret", "")
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	if role != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), role))
	}
	return cfg
}

func (w world) inventory(region, role, tags string) *fleet.Inventory {
	w.Helper()
	parsed, err := fleet.ParseTags(tags)
	if err != nil {
		w.Fatal(err)
	}
	return fleet.NewInventory(ec2.NewFromConfig(w.config(region, role)), parsed)
}

func (w world) place(region, role string) fleet.Place {
	w.Helper()
	return fleet.Place{Groups: autoscaling.NewFromConfig(w.config(region, role)), Instances: w.inventory(region, role, "none")}
}

// names are the workers' Name tags or ids, in their order.
func (w world) names(s fleet.Source) []string {
	w.Helper()
	workers, err := s.Workers(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	names := []string{}
	for _, worker := range workers {
		if worker.Name == "" {
			worker.Name = worker.ID
		}
		names = append(names, worker.Name)
	}
	return names
}

// machine is the nth instance, which decides its place in a list.
func (w world) machine(n int, i localaws.Instance) localaws.Instance {
	w.Helper()
	i.ID = fmt.Sprintf("i-%017x", n)
	return run(w.T, w.aws, i)
}

func TestTagsDecideWhoIsAWorker(t *testing.T) {
	w := newWorld(t)
	for n, tags := range []map[string]string{
		{"Name": "a", "Role": "worker", "Cluster": "one"},
		{"Name": "b", "Role": "worker", "Cluster": "two"},
		{"Name": "c", "Role": "head", "Cluster": "one"},
		{"Name": "d", "RotateSSHKeys": "True"},
		{"Name": "e", "Role": "worker", "Cluster": "one", "RotateSSHKeys": "True"},
		{"Name": "f"},
	} {
		w.machine(n, localaws.Instance{Tags: tags})
	}
	for _, c := range []struct {
		tags string
		want []string
	}{
		{"RotateSSHKeys=True", []string{"d", "e"}},
		{"Role=worker,Cluster=one", []string{"a", "e"}},
		{"Role=worker,Role=head,Cluster=one", []string{"a", "c", "e"}},
		{"Role=worker , Cluster=t*", []string{"b"}},
		{"Role=head;RotateSSHKeys=True", []string{"c", "d", "e"}},
		{"Role=worker;RotateSSHKeys=True", []string{"a", "b", "d", "e"}},
		{"none", []string{}},
	} {
		if diff := cmp.Diff(c.want, w.names(w.inventory("us-east-1", "", c.tags))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.tags, diff)
		}
	}
}

func TestTagsThatSayNothingAreRefused(t *testing.T) {
	for _, bad := range []string{"", "Role", "Role=", "=worker", "Role=worker,", "Role=worker;", "none,Role=worker"} {
		if tags, err := fleet.ParseTags(bad); err == nil {
			t.Errorf("%q is read as %v", bad, tags)
		}
	}
}

func TestWorkersOfSeveralRegionsAndAccounts(t *testing.T) {
	w := newWorld(t)
	tag := map[string]string{"RotateSSHKeys": "True"}
	want := []string{
		w.machine(1, localaws.Instance{Tags: tag}).ARN,
		w.machine(2, localaws.Instance{Tags: tag, Region: "eu-west-1"}).ARN,
		w.machine(3, localaws.Instance{Tags: tag, Account: otherOwner}).ARN,
		w.machine(4, localaws.Instance{Tags: tag, Region: "eu-west-1", Account: otherOwner}).ARN,
	}
	w.machine(5, localaws.Instance{Tags: tag, Region: "ap-south-1"})
	if want[3] != "arn:aws:ec2:eu-west-1:444455556666:instance/i-00000000000000004" {
		t.Fatalf("the endpoint made %s", want[3])
	}
	var sources []fleet.Source
	for _, region := range []string{"eu-west-1", "us-east-1"} {
		for _, r := range []string{"", role} {
			sources = append(sources, w.inventory(region, r, "RotateSSHKeys=True"))
		}
	}
	workers, err := fleet.New(nil, append(sources, sources[0])...).Workers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, fleet.ARNs(workers)); diff != "" {
		t.Errorf("workers (-want +got):\n%s", diff)
	}
	sources = append(sources, w.inventory("eu-west-1", "arn:aws:iam::444455556666:role/gone", "RotateSSHKeys=True"))
	if workers, err := fleet.New(nil, sources...).Workers(t.Context()); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("a role that cannot be assumed: %d workers, %v", len(workers), err)
	}
}

func TestWorkersOfAutoScalingGroups(t *testing.T) {
	w := newWorld(t)
	members := map[string]string{}
	for n, state := range []string{
		"InService", "Standby", "EnteringStandby", "Pending", "Pending:Wait", "Warmed:Running",
		"Terminating", "Terminating:Wait", "Terminating:Proceed", "Terminated", "Detaching", "Detached",
	} {
		members[w.machine(n, localaws.Instance{Tags: map[string]string{"Name": state}}).ID] = state
	}
	members[w.machine(20, localaws.Instance{State: "stopped"}).ID] = "Warmed:Stopped"
	members["i-0000000000000dead"] = "InService" // EC2 does not know it any more
	w.aws.PutAutoScalingGroup(localaws.AutoScalingGroup{Name: "workers", Members: members})
	far := w.machine(30, localaws.Instance{Region: "eu-west-1", Account: otherOwner})
	w.aws.PutAutoScalingGroup(localaws.AutoScalingGroup{Name: "far", Region: "eu-west-1", Account: otherOwner, Members: map[string]string{far.ID: "InService"}})
	w.aws.PutAutoScalingGroup(localaws.AutoScalingGroup{Name: "not asked for", Members: map[string]string{w.machine(31, localaws.Instance{}).ID: "InService"}})
	places := []fleet.Place{w.place("us-east-1", ""), w.place("eu-west-1", role)}
	want := []string{"InService", "Standby", "EnteringStandby", "Pending", "Pending:Wait", "Warmed:Running", far.ID}
	if diff := cmp.Diff(want, w.names(fleet.NewGroups([]string{"workers", "far"}, places...))); diff != "" {
		t.Errorf("workers (-want +got):\n%s", diff)
	}
	_, err := fleet.NewGroups([]string{"workers", "wokers"}, places...).Workers(t.Context())
	if err == nil || !strings.Contains(err.Error(), `no Auto Scaling group "wokers"`) {
		t.Errorf("a group that does not exist: %v", err)
	}
}

func TestALargeGroupIsLookedUpInParts(t *testing.T) {
	w := newWorld(t)
	members := map[string]string{}
	for n := range 450 {
		members[w.machine(n, localaws.Instance{}).ID] = "InService"
	}
	w.aws.PutAutoScalingGroup(localaws.AutoScalingGroup{Name: "workers", Members: members})
	if n := len(w.names(fleet.NewGroups([]string{"workers"}, w.place("us-east-1", "")))); n != 450 {
		t.Errorf("%d workers of 450", n)
	}
}

func TestRunningInstancesAreFoundWithoutTheirTag(t *testing.T) {
	w := newWorld(t)
	here, stopped := w.machine(1, localaws.Instance{}), w.machine(2, localaws.Instance{State: "stopped"})
	far := w.machine(3, localaws.Instance{Region: "eu-west-1", Account: otherOwner})
	unreachable := w.machine(4, localaws.Instance{Region: "eu-west-1"})
	f := fleet.New([]*fleet.Inventory{w.inventory("us-east-1", "", "none"), w.inventory("eu-west-1", role, "none")})
	running, err := f.Running(t.Context(), []string{
		here.ARN, stopped.ARN, far.ARN, unreachable.ARN, "arn:aws:ec2:us-east-1:111122223333:instance/i-0000000000000dead",
		strings.Replace(here.ARN, "111122223333", otherOwner, 1), "nonsense",
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{here.ARN, far.ARN}, fleet.ARNs(running)); diff != "" {
		t.Errorf("running (-want +got):\n%s", diff)
	}
}

func TestAListOfWorkers(t *testing.T) {
	w := newWorld(t)
	client := secretsmanager.NewFromConfig(w.config("us-east-1", ""))
	const good = `{"arn":"arn:aws:ec2:us-east-1:111122223333:instance/i-00000001","address":"rack-1.example"}`
	for n, c := range []struct {
		value, want string // the error, or nothing
	}{
		{`{"schema":"rotatessh.workers/v1","workers":[` + good + `]}`, ""},
		{`{"schema":"rotatessh.workers/v1","workers":[]}`, ""},
		{`{"schema":"rotatessh.workers/v2","workers":[` + good + `]}`, "schema"},
		{`{"workers":[` + good + `]}`, "schema"},
		{`{"schema":"rotatessh.workers/v1","workers":[` + good + `,` + good + `]}`, "worker 2, arn:aws:ec2:us-east-1:111122223333:instance/i-00000001: it is in the list twice"},
		{`{"schema":"rotatessh.workers/v1","workers":[{"arn":"rack-1","address":"rack-1.example"}]}`, `worker 1: arn "rack-1"`},
		{`{"schema":"rotatessh.workers/v1","workers":[{"arn":"arn:aws:ec2:us-east-1:111122223333:instance/i-00000001"}]}`, "address is missing"},
		{`{"schema":"rotatessh.workers/v1","worker":[]}`, "unknown field"},
		{`{"schema":"rotatessh.workers/v1","workers":[]} {}`, "more after the document"},
		{``, "EOF"},
	} {
		name := fmt.Sprintf("/dev/ssh/workers-%d", n)
		in := &secretsmanager.CreateSecretInput{Name: &name}
		if in.SecretString = aws.String(c.value); c.value == "" {
			in.SecretString = aws.String(" ")
		}
		if _, err := client.CreateSecret(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		workers, err := fleet.NewList(client, name).Workers(t.Context())
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), name)) {
			t.Errorf("%s: %v, want %q", c.value, err, c.want)
		}
		if n == 0 {
			want := []fleet.Worker{{ARN: "arn:aws:ec2:us-east-1:111122223333:instance/i-00000001", ID: "i-00000001", Address: "rack-1.example"}}
			if diff := cmp.Diff(want, workers); diff != "" {
				t.Errorf("workers (-want +got):\n%s", diff)
			}
		}
	}
	if _, err := fleet.NewList(client, "/dev/ssh/none").Workers(t.Context()); err == nil {
		t.Error("a list that does not exist was read")
	}
}

func TestOneSourceThatFailsIsNotASmallerFleet(t *testing.T) {
	w := newWorld(t)
	w.machine(1, localaws.Instance{Tags: map[string]string{"RotateSSHKeys": "True"}})
	w.aws.OnCall(localaws.Fault{Service: "autoscaling", Before: func(localaws.Call) error {
		return &localaws.APIError{Code: "Throttling", Message: "injected"}
	}})
	f := fleet.New(nil, w.inventory("us-east-1", "", "RotateSSHKeys=True"), fleet.NewGroups([]string{"g"}, w.place("us-east-1", "")))
	var coded interface{ ErrorCode() string }
	if workers, err := f.Workers(t.Context()); !errors.As(err, &coded) || coded.ErrorCode() != "Throttling" {
		t.Errorf("%d workers, %v", len(workers), err)
	}
}
