package demo

import (
	"encoding/json"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// awsCLI calls the AWS CLI as the kept demo says.
type awsCLI struct {
	path string
	env  []string
	args []string
}

func (a awsCLI) run(t *testing.T, into any, args ...string) {
	t.Helper()
	cmd := exec.Command(a.path, slices.Concat(a.args, []string{"--output", "json", "secretsmanager"}, args)...)
	cmd.Env = a.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("aws secretsmanager %v: %v: %s", args, err, out)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("aws secretsmanager %v: %v: %s", args, err, out)
	}
}

// rotatessh calls the compiled program in the environment that the demo printed.
func (a awsCLI) rotatessh(t *testing.T, b Binaries, args ...string) {
	t.Helper()
	cmd := exec.Command(b.Rotatessh, args...)
	cmd.Env = a.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("rotatessh %v: %v: %s", args, err, out)
	}
}

func who(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

var variable = regexp.MustCompile(`(?m)^(AWS_[A-Z_]+)=(\S+)$`)

func TestKeptDemoServesTheAWSCLI(t *testing.T) {
	path, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("not run: there is no aws CLI on this machine")
	}
	d := startDemo(t, programs(t), "--keep", "--json", "--workers", "2")
	d.awaitOutput(t, "list-secrets")
	cli := awsCLI{path: path, env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}}
	var endpoint string
	for _, m := range variable.FindAllStringSubmatch(d.stderr.String(), -1) {
		cli.env = append(cli.env, m[1]+"="+m[2])
		if m[1] == "AWS_ENDPOINT_URL" {
			endpoint = m[2]
		}
	}
	if n := strings.Count(d.stderr.String(), "AWS_ENDPOINT_URL="); n != 1 || endpoint == "" {
		t.Fatalf("%d lines say AWS_ENDPOINT_URL=:\n%s", n, d.stderr.String())
	}
	if !strings.Contains(d.stderr.String(), "aws --endpoint-url "+endpoint) {
		t.Errorf("no ready command:\n%s", d.stderr.String())
	}
	cli.args = []string{"--endpoint-url", endpoint} // versions before 2.13 do not know the variable

	var list struct{ SecretList []struct{ Name string } }
	cli.run(t, &list, "list-secrets")
	var names []string
	for _, s := range list.SecretList {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{secretName, keysetName}) {
		t.Errorf("secrets are %q", names)
	}
	for name, member := range map[string]string{secretName: "PrivateKey", keysetName: "schema"} {
		var value struct{ SecretString string }
		cli.run(t, &value, "get-secret-value", "--secret-id", name)
		if !strings.Contains(value.SecretString, member) {
			t.Errorf("%s holds no %s", name, member)
		}
		var description struct{ VersionIdsToStages map[string][]string } //nolint:revive // AWS's name
		cli.run(t, &description, "describe-secret", "--secret-id", name)
		if len(description.VersionIdsToStages) == 0 {
			t.Errorf("%s has no versions", name)
		}
	}
	var started struct{ VersionId string } //nolint:revive // AWS's name
	cli.run(t, &started, "rotate-secret", "--secret-id", secretName)
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		var now struct{ VersionIdsToStages map[string][]string } //nolint:revive // AWS's name
		cli.run(t, &now, "describe-secret", "--secret-id", secretName)
		if rotated(now.VersionIdsToStages, started.VersionId) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the rotation that the aws CLI started does not complete: %v", now.VersionIdsToStages)
		}
	}
	cli.rotatessh(t, programs(t), "status")
	cli.rotatessh(t, programs(t), "rotate", "--wait")
	cli.rotatessh(t, programs(t), "copy", "keep_test.go", who(t)+"@worker-2:")
	if copied, err := filepath.Glob(filepath.Join(d.state, "rotatessh", "*", "worker-2", "home", "keep_test.go")); err != nil || len(copied) != 1 {
		t.Errorf("copied files: %q, %v", copied, err)
	}
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if status := d.wait(t); status != 0 {
		t.Errorf("exit status %d after Ctrl-C\n%s", status, d.stderr.String())
	}
	d.figures(t)
}
