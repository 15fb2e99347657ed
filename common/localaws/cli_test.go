package localaws_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

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
