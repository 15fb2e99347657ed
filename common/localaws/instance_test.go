package localaws_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/localaws"
)

// worker returns a configuration with the credentials that an instance's metadata service gives.
func worker(t *testing.T, s *localaws.Server, i localaws.Instance) aws.Config {
	t.Helper()
	provider := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = imds.New(imds.Options{Endpoint: i.MetadataURL}) })
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"), config.WithBaseEndpoint(s.URL()),
		config.WithSharedConfigFiles(nil), config.WithSharedCredentialsFiles(nil), config.WithCredentialsProvider(provider))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func runInstance(t *testing.T, s *localaws.Server, i localaws.Instance) localaws.Instance {
	t.Helper()
	out, err := s.RunInstance(i)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCredentialsOfAnInstanceReadThePublicSecretOnly(t *testing.T) {
	s := start(t, localaws.Options{})
	op := secretsmanager.NewFromConfig(operator(t, s))
	for _, name := range []string{"/dev/ssh", "/dev/ssh/public"} {
		if _, err := op.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("of " + name)}); err != nil {
			t.Fatal(err)
		}
	}
	i := runInstance(t, s, localaws.Instance{})
	c := secretsmanager.NewFromConfig(worker(t, s, i))
	out, err := c.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("/dev/ssh/public")})
	if err != nil || aws.ToString(out.SecretString) != "of /dev/ssh/public" {
		t.Errorf("public secret: %v, %v", out, err)
	}
	_, err = c.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("/dev/ssh")})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException" {
		t.Fatalf("key-pair secret: %v", err)
	}
	for _, want := range []string{"assumed-role/rotatessh-worker/" + i.ID, "is not authorized to perform: secretsmanager:GetSecretValue on resource: arn:aws:secretsmanager:"} {
		if !strings.Contains(api.ErrorMessage(), want) {
			t.Errorf("message %q lacks %q", api.ErrorMessage(), want)
		}
	}
	last := s.Calls()[len(s.Calls())-1]
	if last.Principal != i.ARN || last.ErrorCode != "AccessDeniedException" {
		t.Errorf("recorded as %s by %s", last.ErrorCode, last.Principal)
	}
}

func TestStolenAccessKeyNeedsItsToken(t *testing.T) {
	s := start(t, localaws.Options{})
	i := runInstance(t, s, localaws.Instance{})
	cfg := worker(t, s, i)
	stolen, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stolen.SessionToken = ""
	cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return stolen, nil })
	_, err = secretsmanager.NewFromConfig(cfg).ListSecrets(t.Context(), &secretsmanager.ListSecretsInput{})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "UnrecognizedClientException" {
		t.Errorf("ListSecrets = %v", err)
	}
}

func TestInstanceKnowsItselfAndIsDescribed(t *testing.T) {
	s := start(t, localaws.Options{})
	i := runInstance(t, s, localaws.Instance{PrivateIP: "127.0.0.7", Tags: map[string]string{"RotateSSHKeys": "True"}})
	doc, err := imds.New(imds.Options{Endpoint: i.MetadataURL}).GetInstanceIdentityDocument(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	arn := "arn:aws:ec2:" + doc.Region + ":" + doc.AccountID + ":instance/" + doc.InstanceID
	if arn != i.ARN || doc.PrivateIP != "127.0.0.7" {
		t.Errorf("document says %s at %s, want %s", arn, doc.PrivateIP, i.ARN)
	}
	describe := func() []string {
		out, err := ec2.NewFromConfig(operator(t, s)).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{Filters: []types.Filter{
			{Name: aws.String("tag:RotateSSHKeys"), Values: []string{"True"}}, {Name: aws.String("instance-state-name"), Values: []string{"running"}}}})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				ids = append(ids, *i.InstanceId)
			}
		}
		return ids
	}
	if diff := cmp.Diff([]string{i.ID}, describe()); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
	if err := s.UntagInstance(i.ID, "RotateSSHKeys"); err != nil || describe() != nil {
		t.Errorf("after untagging: %v, %v", describe(), err)
	}
	if err := s.TagInstance(i.ID, map[string]string{"RotateSSHKeys": "True"}); err != nil || len(describe()) != 1 {
		t.Errorf("after tagging: %v, %v", describe(), err)
	}
	if err := s.SetInstanceState(i.ID, "stopped"); err != nil || describe() != nil {
		t.Errorf("after stopping: %v, %v", describe(), err)
	}
	for _, err := range []error{s.SetInstanceState(i.ID, "asleep"), s.SetInstanceState("i-0", "running"), s.TagInstance("i-0", nil), s.UntagInstance("i-0")} {
		if err == nil {
			t.Error("an impossible change succeeded")
		}
	}
	if _, err := s.RunInstance(localaws.Instance{ID: i.ID}); err == nil {
		t.Error("an id was taken twice")
	}
}

func TestChangesOfStateAreEvents(t *testing.T) {
	t.Parallel()
	s := start(t, localaws.Options{})
	i := runInstance(t, s, localaws.Instance{NoMetadata: true})
	if err := s.SetInstanceState(i.ID, "terminated"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "event", func() bool { return len(s.Snapshot().Events) == 1 })
	var e struct {
		Source     string
		DetailType string `json:"detail-type"`
		Resources  []string
		Detail     map[string]string
	}
	if err := json.Unmarshal(s.Snapshot().Events[0], &e); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"instance-id": i.ID, "state": "terminated"}
	if diff := cmp.Diff(want, e.Detail); diff != "" || e.Source != "aws.ec2" || e.DetailType != "EC2 Instance State-change Notification" || e.Resources[0] != i.ARN {
		t.Errorf("event is %+v, detail (-want +got):\n%s", e, diff)
	}
}

func TestInstanceWithoutMetadataHasNoListener(t *testing.T) {
	s := start(t, localaws.Options{})
	if i := runInstance(t, s, localaws.Instance{NoMetadata: true}); i.MetadataURL != "" {
		t.Errorf("metadata at %s", i.MetadataURL)
	}
}

func TestCloseStopsMetadataServices(t *testing.T) {
	s, err := localaws.Start(localaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	i := runInstance(t, s, localaws.Instance{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(i.MetadataURL, "http://")); err == nil {
		t.Error("metadata service is still there", c.Close())
	}
	if _, err := s.RunInstance(localaws.Instance{}); err == nil {
		t.Error("RunInstance after Close succeeded")
	}
}
