package localaws_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rotatessh/rotatessh/common/localaws"
)

func start(t *testing.T, o localaws.Options) *localaws.Server {
	t.Helper()
	s, err := localaws.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// operator returns a configuration for the endpoint that this machine's own AWS settings do not touch.
func operator(t *testing.T, s *localaws.Server) aws.Config {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"), config.WithBaseEndpoint(s.URL()),
		config.WithSharedConfigFiles(nil), config.WithSharedCredentialsFiles(nil),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAOPERATOR", "secret", "")))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func function(t *testing.T, s *localaws.Server, name, role string, timeout time.Duration) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	arn, err := s.CreateFunction(localaws.FunctionSpec{Name: name, Command: []string{exe},
		Env: []string{roleVariable + "=" + role}, Timeout: timeout, Stderr: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	return arn
}

// eventually waits for a condition that other goroutines or processes bring about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for ctx := t.Context(); !done(); {
		select {
		case <-ctx.Done():
			t.Fatalf("never came true: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

type rig struct {
	*localaws.Server
	client *secretsmanager.Client
	arn    string // of the secret
	lambda string
}

func newRig(t *testing.T, o localaws.Options) *rig {
	t.Helper()
	if o.RetryRotationAfter == 0 {
		o.RetryRotationAfter = 10 * time.Millisecond
	}
	s := start(t, o)
	c := secretsmanager.NewFromConfig(operator(t, s))
	out, err := c.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("/dev/ssh"), SecretString: aws.String("first")})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{Server: s, client: c, arn: *out.ARN, lambda: function(t, s, "RotateSSH", "rotator", 10*time.Second)}
}

func (r *rig) rotate(t *testing.T) string {
	t.Helper()
	out, err := r.client.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: &r.arn, RotationLambdaARN: &r.lambda})
	if err != nil {
		t.Fatal(err)
	}
	return *out.VersionId
}

func (r *rig) stages(ctx context.Context, t *testing.T) map[string][]string {
	t.Helper()
	d, err := r.client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &r.arn})
	if err != nil {
		t.Fatal(err)
	}
	return d.VersionIdsToStages
}

func (r *rig) finished(t *testing.T) func() bool {
	return func() bool {
		d, err := r.client.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &r.arn})
		if err != nil {
			t.Fatal(err)
		}
		return d.LastRotatedDate != nil
	}
}

func TestRotationMovesLabelsThroughTheFourSteps(t *testing.T) {
	r := newRig(t, localaws.Options{})
	first := holder(r.stages(t.Context(), t), "AWSCURRENT")
	token := r.rotate(t)
	eventually(t, "rotation finished", r.finished(t))
	want := map[string][]string{token: {"AWSCURRENT"}, first: {"AWSPREVIOUS"}}
	if diff := cmp.Diff(want, r.stages(t.Context(), t), cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}
