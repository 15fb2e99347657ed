package localaws_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
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

func TestRotatorKilledInMidStepIsFollowedByAnother(t *testing.T) {
	for _, call := range []string{"GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"} {
		for _, when := range []string{"before", "after"} {
			t.Run(when+" "+call, func(t *testing.T) {
				r := newRig(t, localaws.Options{})
				kill := r.killOnce(t)
				f := localaws.Fault{Service: "secretsmanager", Action: call, Match: func(c localaws.Call) bool { return c.Principal == "RotateSSH" }}
				if when == "before" {
					f.Before = kill
				} else {
					f.After = kill
				}
				r.OnCall(f)
				token := r.rotate(t)
				eventually(t, "rotation finished", r.finished(t))
				if got := r.stages(t.Context(), t)[token]; !slices.Contains(got, "AWSCURRENT") {
					t.Errorf("new version has %v", got)
				}
				r.checkSteps(t, token)
			})
		}
	}
}

// killOnce is a hook that kills the rotator's processes at its first call, and drops that connection.
func (r *rig) killOnce(t *testing.T) func(localaws.Call) error {
	var once sync.Once
	return func(localaws.Call) (err error) {
		once.Do(func() {
			for _, pid := range r.FunctionPIDs("RotateSSH") {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
			err = localaws.ErrDrop
		})
		return err
	}
}

// checkSteps reads the record of a rotation that failed once: one token, a fresh RotationToken each step.
func (r *rig) checkSteps(t *testing.T, token string) {
	t.Helper()
	failed, used := 0, map[string]bool{}
	for _, c := range r.Calls() {
		if c.Action != "Invoke" {
			continue
		}
		var e events.SecretsManagerSecretRotationEvent
		if err := json.Unmarshal(c.Input, &e); err != nil {
			t.Fatal(err)
		}
		if c.ErrorCode != "" {
			failed++
		}
		if e.ClientRequestToken != token || e.SecretID != r.arn || used[e.RotationToken] || c.Principal != "secretsmanager" || c.Resource != r.lambda {
			t.Errorf("odd step %s", c.Input)
		}
		used[e.RotationToken] = true
	}
	if failed != 1 {
		t.Errorf("%d steps failed, want 1", failed)
	}
	if got := len(r.Snapshot().RotationTokens); got != len(used) {
		t.Errorf("snapshot has %d rotation tokens, want %d", got, len(used))
	}
}

func TestRotateSecretIsRefusedWhileARotationIsUnfinished(t *testing.T) {
	r := newRig(t, localaws.Options{RetryRotationAfter: time.Hour})
	remove := r.OnCall(localaws.Fault{Service: "lambda", Before: func(localaws.Call) error {
		return &localaws.APIError{Code: "ServiceException", Message: "as asked", Status: 500}
	}})
	r.rotate(t)
	eventually(t, "step failed", func() bool {
		return slices.ContainsFunc(r.Calls(), func(c localaws.Call) bool { return c.Action == "Invoke" && c.ErrorCode == "ServiceException" })
	})
	_, err := r.client.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: &r.arn})
	var refused *types.InvalidRequestException
	if !errors.As(err, &refused) || refused.ErrorMessage() != "A previous rotation isn't complete. That rotation will be reattempted." {
		t.Errorf("RotateSecret = %v", err)
	}
	remove()
	if _, err := r.client.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &r.arn, SecretString: aws.String("by hand")}); err != nil {
		t.Fatal(err)
	}
	r.rotate(t)
	eventually(t, "rotation finished", r.finished(t))
}

func TestRotateImmediatelyFalseTestsTheFunctionOnly(t *testing.T) {
	r := newRig(t, localaws.Options{})
	before := r.stages(t.Context(), t)
	_, err := r.client.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: &r.arn, RotationLambdaARN: &r.lambda,
		RotateImmediately: aws.Bool(false), RotationRules: &types.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "test ended", func() bool { return cmp.Equal(before, r.stages(t.Context(), t)) })
	var steps []string
	for _, c := range r.Calls() {
		if c.Action == "Invoke" {
			steps = append(steps, c.ErrorCode+stepOf(t, c))
		}
	}
	if diff := cmp.Diff([]string{"testSecret"}, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func stepOf(t *testing.T, c localaws.Call) string {
	t.Helper()
	var e events.SecretsManagerSecretRotationEvent
	if err := json.Unmarshal(c.Input, &e); err != nil {
		t.Fatal(err)
	}
	return e.Step
}

func TestLostAnswerOfRotateSecretIsRepeatedSafely(t *testing.T) {
	r := newRig(t, localaws.Options{})
	var once sync.Once
	r.OnCall(localaws.Fault{Action: "RotateSecret", After: func(localaws.Call) (err error) {
		once.Do(func() { err = localaws.ErrDrop })
		return err
	}})
	token := r.rotate(t) // the SDK tries again under the token that it made up
	eventually(t, "rotation finished", r.finished(t))
	if got := r.stages(t.Context(), t)[token]; !slices.Contains(got, "AWSCURRENT") {
		t.Errorf("new version has %v", got)
	}
}
