package localaws_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rotatessh/rotatessh/common/localaws"
)

func TestCommandLineRunsAScriptOnAnInstance(t *testing.T) {
	t.Parallel()
	s := start(t, localaws.Options{})
	i := runInstance(t, s, localaws.Instance{NoMetadata: true})
	dir := t.TempDir()
	if err := s.ManageInstance(i.ID, localaws.Shell{Dir: dir, Env: []string{"PATH=/usr/bin:/bin", "GREETING=hello"}}.Run); err != nil {
		t.Fatal(err)
	}
	if err := s.ManageInstance("i-0", nil); err == nil {
		t.Error("an instance that does not exist was managed")
	}
	if got := awsCLI(t, s, "ssm", "describe-instance-information", "--query", "InstanceInformationList[].PingStatus"); got != "Online" {
		t.Errorf("describe-instance-information: %q", got)
	}
	id := awsCLI(t, s, "ssm", "send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", i.ID, "--max-concurrency", "5", "--max-errors", "1",
		"--parameters", `commands=["cat > kept <<'EOF'","'$GREETING'","EOF","echo $GREETING; pwd; exit 3"]`, "--query", "Command.CommandId")
	for _, code := range []string{"-1", "3"} {
		eventually(t, "code "+code, func() bool {
			got := awsCLI(t, s, "ssm", "get-command-invocation", "--command-id", id, "--instance-id", i.ID, "--query", "ResponseCode")
			return got == code || got == "3"
		})
	}
	if got := awsCLI(t, s, "ssm", "get-command-invocation", "--command-id", id, "--instance-id", i.ID, "--query", "[Status,StandardOutputContent]"); got != "Failed\thello\n"+dir {
		t.Errorf("get-command-invocation: %q", got)
	}
	if got := awsCLI(t, s, "ssm", "list-command-invocations", "--command-id", id, "--details", "--query", "CommandInvocations[].CommandPlugins[].ResponseCode"); got != "3" {
		t.Errorf("list-command-invocations: %q", got)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "kept")); err != nil || string(got) != "'$GREETING'\n" {
		t.Errorf("the script wrote %q, %v", got, err)
	}
}

func TestAShellScriptIsKilledWithItsChildren(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan localaws.CommandResult, 1)
	go func() {
		done <- localaws.Shell{Dir: dir, Env: []string{"PATH=/usr/bin:/bin"}}.Run(ctx, "sleep 1000 & echo $! > pid.tmp; mv pid.tmp pid; wait\n")
	}()
	var pid int
	eventually(t, "child", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err == nil
	})
	cancel()
	if r := <-done; r.ExitCode == 0 {
		t.Errorf("result is %+v", r)
	}
	eventually(t, "end of the child", func() bool {
		state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return err != nil || strings.Contains(string(state), ") Z ") || syscall.Kill(pid, 0) != nil
	})
	if left, _ := filepath.Glob(filepath.Join(dir, "_script*")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}
