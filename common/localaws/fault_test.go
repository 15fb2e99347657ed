package localaws_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/localaws"
)

// oneTry is an operator's client that does not repeat failed calls.
func oneTry(t *testing.T, s *localaws.Server) *secretsmanager.Client {
	return secretsmanager.NewFromConfig(operator(t, s), func(o *secretsmanager.Options) { o.RetryMaxAttempts = 1 })
}

func TestFaultBeforeACallLeavesNoEffect(t *testing.T) {
	s := start(t, localaws.Options{})
	c := oneTry(t, s)
	remove := s.OnCall(localaws.Fault{Service: "secretsmanager", Action: "CreateSecret",
		Before: func(localaws.Call) error {
			return &localaws.APIError{Code: "ThrottlingException", Message: "slow down"}
		}})
	create := &secretsmanager.CreateSecretInput{Name: aws.String("s"), SecretString: aws.String("x")}
	_, err := c.CreateSecret(t.Context(), create)
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "ThrottlingException" || api.ErrorMessage() != "slow down" {
		t.Errorf("CreateSecret = %v", err)
	}
	if out, err := c.ListSecrets(t.Context(), &secretsmanager.ListSecretsInput{}); err != nil || len(out.SecretList) != 0 {
		t.Errorf("ListSecrets = %v, %v", out, err)
	}
	remove()
	if _, err := c.CreateSecret(t.Context(), create); err != nil {
		t.Errorf("after remove: %v", err)
	}
}

func TestFaultAfterACallHidesItsEffect(t *testing.T) {
	s := start(t, localaws.Options{})
	c := oneTry(t, s)
	var seen []localaws.Call
	s.OnCall(localaws.Fault{Action: "CreateSecret", Match: func(c localaws.Call) bool { return c.Resource == "s" },
		After: func(c localaws.Call) error { seen = append(seen, c); return localaws.ErrDrop }})
	if _, err := c.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("s"), SecretString: aws.String("x")}); err == nil {
		t.Error("dropped connection gave an answer")
	}
	if _, err := c.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("s")}); err != nil {
		t.Errorf("call had no effect: %v", err)
	}
	if _, err := c.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("s"), SecretString: aws.String("y")}); err == nil {
		t.Error("second create succeeded")
	}
	if len(seen) != 1 || !strings.Contains(string(seen[0].Output), "ARN") {
		t.Errorf("hook saw %d calls; it must see those that took effect, with their answer", len(seen))
	}
}

func TestCallsAreRecorded(t *testing.T) {
	s := start(t, localaws.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	watch := s.Watch(ctx)
	c := oneTry(t, s)
	_, _ = c.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("nobody")})
	out, err := c.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("s"), SecretString: aws.String("x")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("s")}); err != nil {
		t.Fatal(err)
	}
	want := []string{"1 GetSecretValue nobody operator ResourceNotFoundException", "2 CreateSecret s operator ", "3 GetSecretValue " + *out.ARN + " operator "}
	var listed, watched []string
	for _, c := range s.Calls() {
		listed = append(listed, line(c))
		watched = append(watched, line(<-watch))
		if c.End.Before(c.Start) || len(c.Input) == 0 || len(c.Output) == 0 {
			t.Errorf("incomplete record of %s", c.Action)
		}
	}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("Calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, watched); diff != "" {
		t.Errorf("Watch (-want +got):\n%s", diff)
	}
	cancel()
	if _, open := <-watch; open {
		t.Error("watch goes on after its context")
	}
}

func line(c localaws.Call) string {
	return strings.Join([]string{string(rune('0' + c.Seq)), c.Action, c.Resource, c.Principal, c.ErrorCode}, " ")
}

func TestWhatIsNotServedIsAnError(t *testing.T) {
	s := start(t, localaws.Options{})
	signed := "AWS4-HMAC-SHA256 Credential=AKID/20261124/us-east-1/%s/aws4_request, SignedHeaders=host, Signature=0"
	for _, c := range []struct {
		name, method, path, service, target, body, auth string
		status                                          int
		want                                            string
	}{
		{"operation", "POST", "/", "secretsmanager", "secretsmanager.PutResourcePolicy", "{}", signed, 400, "UnknownOperationException"},
		{"service", "POST", "/", "kms", "TrentService.Encrypt", "{}", signed, 400, "UnknownOperationException"},
		{"query", "POST", "/", "iam", "", "Action=CreateUser", signed, 400, "InvalidAction"},
		{"ec2", "POST", "/", "ec2", "", "Action=RunInstances", signed, 400, "InvalidAction"},
		{"no action", "GET", "/bucket/key", "s3", "", "", signed, 400, "MissingAction"},
		{"lambda", "GET", "/2015-03-31/functions", "lambda", "", "", signed, 404, "UnknownOperationException"},
		{"unsigned", "POST", "/", "", "secretsmanager.ListSecrets", "{}", "", 403, "MissingAuthenticationToken"},
		{"not JSON", "POST", "/", "secretsmanager", "secretsmanager.ListSecrets", "{", signed, 400, "SerializationException"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, s.URL()+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.target != "" {
				req.Header.Set("X-Amz-Target", c.target)
			}
			req.Header.Set("Authorization", strings.Replace(c.auth, "%s", c.service, 1))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var body strings.Builder
			if err := resp.Write(&body); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status || !strings.Contains(body.String(), c.want) {
				t.Errorf("answer %s; want %d %s", body.String(), c.status, c.want)
			}
			for _, h := range []string{"Date", "X-Amzn-Requestid"} {
				if resp.Header.Get(h) == "" {
					t.Errorf("answer has no %s", h)
				}
			}
		})
	}
}
