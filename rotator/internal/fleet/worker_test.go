package fleet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/awsconf"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

func inventory(t *testing.T, region string) (*localaws.Server, *fleet.Inventory) {
	t.Helper()
	server, err := localaws.Start(localaws.Options{Region: region})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Log(err)
		}
	})
	cfg, err := awsconf.Load(t.Context(), awsconf.Options{Region: region})
	if err != nil {
		t.Fatal(err)
	}
	cfg.BaseEndpoint = aws.String(server.URL())
	cfg.Credentials = credentials.NewStaticCredentialsProvider("AKIAOPERATOR", "secret", "")
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	return server, fleet.NewInventory(ec2.NewFromConfig(cfg), fleet.Tags{{{Name: "RotateSSHKeys", Value: "True"}}})
}

func run(t *testing.T, s *localaws.Server, i localaws.Instance) localaws.Instance {
	t.Helper()
	i.NoMetadata = true
	out, err := s.RunInstance(i)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWorkersAreRunningAndTagged(t *testing.T) {
	s, inv := inventory(t, "eu-west-1")
	launched := time.Now().Add(-time.Hour).Truncate(time.Second).UTC()
	tag := map[string]string{"RotateSSHKeys": "True", "Name": "node-1"}
	i := run(t, s, localaws.Instance{PrivateIP: "10.1.2.3", AZ: "eu-west-1b", Tags: tag, LaunchTime: launched})
	run(t, s, localaws.Instance{Tags: map[string]string{"RotateSSHKeys": "False"}})
	run(t, s, localaws.Instance{Tags: map[string]string{"Name": "node-2"}})
	run(t, s, localaws.Instance{Tags: tag, State: "stopped"})
	run(t, s, localaws.Instance{Tags: tag, State: "pending"})
	got, err := inv.Workers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []fleet.Worker{{ARN: i.ARN, ID: i.ID, Name: "node-1", Address: "10.1.2.3", Zone: "eu-west-1b", Launched: launched}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("workers (-want +got):\n%s", diff)
	}
}

func TestEveryPageOfTheInventoryIsRead(t *testing.T) {
	s, inv := inventory(t, "us-east-1")
	want := map[string]bool{}
	for n := range 2100 {
		want[run(t, s, localaws.Instance{ID: fmt.Sprintf("i-%017x", n), Tags: map[string]string{"RotateSSHKeys": "True"}}).ARN] = true
	}
	got, err := inv.Workers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n, arn := range fleet.ARNs(got) {
		delete(want, arn)
		if n > 0 && got[n-1].ID >= got[n].ID {
			t.Fatalf("%s comes after %s", got[n].ID, got[n-1].ID)
		}
	}
	if len(got) != 2100 || len(want) > 0 {
		t.Errorf("%d workers were read, %d are missing", len(got), len(want))
	}
}

func TestAPageThatFailsIsNotTakenForTheEnd(t *testing.T) {
	s, inv := inventory(t, "us-east-1")
	for n := range 1100 {
		run(t, s, localaws.Instance{ID: fmt.Sprintf("i-%017x", n), Tags: map[string]string{"RotateSSHKeys": "True"}})
	}
	pages := 0
	s.OnCall(localaws.Fault{Service: "ec2", Before: func(localaws.Call) error {
		if pages++; pages == 2 {
			return &localaws.APIError{Code: "RequestLimitExceeded", Message: "injected", Status: 503}
		}
		return nil
	}})
	if got, err := inv.Workers(t.Context()); err == nil {
		t.Errorf("%d workers were read without an error", len(got))
	}
	if pages != 2 {
		t.Errorf("%d pages were asked for", pages)
	}
}
