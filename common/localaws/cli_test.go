package localaws_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws"
)

// awsCLI runs Debian's aws command against the endpoint and returns what it printed.
func awsCLI(t *testing.T, s *localaws.Server, args ...string) string {
	t.Helper()
	const path = "/usr/bin/aws"
	if _, err := os.Stat(path); err != nil {
		t.Skip("not run: there is no " + path)
	}
	cmd := exec.CommandContext(t.Context(), path, append([]string{"--endpoint-url", s.URL(), "--output", "text"}, args...)...)
	cmd.Env = append(s.Env(), "PATH=/usr/bin:/bin", "HOME="+t.TempDir(), "AWS_PAGER=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func TestCommandLineRotatesASecret(t *testing.T) {
	t.Parallel()
	r := newRig(t, localaws.Options{})
	if got := awsCLI(t, r.Server, "secretsmanager", "list-secrets", "--query", "SecretList[].Name"); got != "/dev/ssh" {
		t.Errorf("list-secrets: %q", got)
	}
	if got := awsCLI(t, r.Server, "secretsmanager", "get-secret-value", "--secret-id", "/dev/ssh", "--query", "SecretString"); got != "first" {
		t.Errorf("get-secret-value: %q", got)
	}
	token := awsCLI(t, r.Server, "secretsmanager", "rotate-secret", "--secret-id", "/dev/ssh", "--rotation-lambda-arn", r.lambda, "--query", "VersionId")
	eventually(t, "rotation finished", r.finished(t))
	got := awsCLI(t, r.Server, "secretsmanager", "describe-secret", "--secret-id", "/dev/ssh", "--query", "VersionIdsToStages.\""+token+"\"")
	if got != "AWSCURRENT" {
		t.Errorf("describe-secret: new version has %q", got)
	}
}

func TestCommandLineFindsASubscriptionBySubscribingAgain(t *testing.T) {
	t.Parallel()
	s := start(t, localaws.Options{})
	topic := awsCLI(t, s, "sns", "create-topic", "--name", "t", "--query", "TopicArn")
	subscribe := []string{"sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs",
		"--notification-endpoint", "arn:aws:sqs:us-east-1:111122223333:q", "--return-subscription-arn", "--query", "SubscriptionArn"}
	first := awsCLI(t, s, append(subscribe, "--attributes", "RawMessageDelivery=true")...)
	if !strings.HasPrefix(first, topic+":") {
		t.Errorf("the subscription is %q", first)
	}
	if again := awsCLI(t, s, subscribe...); again != first {
		t.Errorf("subscribing again gives %q, want %q", again, first)
	}
	for range 2 {
		awsCLI(t, s, "sns", "unsubscribe", "--subscription-arn", first)
	}
	if left := awsCLI(t, s, "sns", "list-subscriptions-by-topic", "--topic-arn", topic, "--query", "Subscriptions[].SubscriptionArn"); left != "" {
		t.Errorf("subscriptions left: %q", left)
	}
}

func TestCommandLineReachesEveryService(t *testing.T) {
	t.Parallel()
	s := start(t, localaws.Options{})
	i := runInstance(t, s, localaws.Instance{Tags: map[string]string{"RotateSSHKeys": "True"}})
	function(t, s, "echo", "echo", time.Minute)
	payload := t.TempDir() + "/payload"
	s.PutAutoScalingGroup(localaws.AutoScalingGroup{Name: "workers", Members: map[string]string{i.ID: "InService"}})
	s.CreateRole("arn:aws:iam::444455556666:role/inventory")
	queue := s.URL() + "/111122223333/q"
	for _, c := range []struct {
		args string
		want string
	}{
		{"sts get-caller-identity --query Account", "111122223333"},
		{"ec2 describe-instances --filters Name=tag:RotateSSHKeys,Values=True --query Reservations[].Instances[].InstanceId", i.ID},
		{"autoscaling describe-auto-scaling-groups --query AutoScalingGroups[].Instances[].[InstanceId,LifecycleState]", i.ID + "\tInService"},
		{"sts assume-role --role-arn arn:aws:iam::444455556666:role/inventory --role-session-name cli --query AssumedRoleUser.Arn",
			"arn:aws:sts::444455556666:assumed-role/inventory/cli"},
		{"sqs create-queue --queue-name q", queue},
		{"sqs send-message --message-body hello --queue-url " + queue + " --query MD5OfMessageBody", "5d41402abc4b2a76b9719d911017c592"},
		{"sqs receive-message --queue-url " + queue + " --query Messages[].Body", "hello"},
		{"sns create-topic --name t --query TopicArn", "arn:aws:sns:us-east-1:111122223333:t"},
		{"events put-events --entries [{\"Source\":\"s\",\"DetailType\":\"d\",\"Detail\":\"{}\"}] --query FailedEntryCount", "0"},
		{"dynamodb list-tables --query TableNames", ""},
		{"lambda invoke --function-name echo --query StatusCode " + payload, "200"},
	} {
		if got := awsCLI(t, s, strings.Fields(c.args)...); got != c.want {
			t.Errorf("aws %s: %q, want %q", c.args, got, c.want)
		}
	}
	if got, err := os.ReadFile(payload); err != nil || !strings.Contains(string(got), `"name":"echo"`) {
		t.Errorf("lambda invoke wrote %s, %v", got, err)
	}
}
