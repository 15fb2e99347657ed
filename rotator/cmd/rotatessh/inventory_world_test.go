package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

// remoteRole opens the other account to the rotator, and to nobody's --tag.
const remoteRole = "arn:aws:iam::444455556666:role/inventory"

// remote NAME...: running instances of another account, with another tag than most.
func (w *world) addRemote(ts *testscript.TestScript, names []string) error {
	w.server.CreateRole(remoteRole)
	for _, name := range names {
		i, err := w.server.RunInstance(localaws.Instance{
			NoMetadata: true, LaunchTime: time.Now().Add(-time.Hour), Account: "444455556666", Tags: map[string]string{"Fleet": "blue", "Name": name},
		})
		if err != nil {
			return err
		}
		w.join(ts, name, i)
	}
	return nil
}

// static NAME...: machines outside of EC2, in the list that is the secret /dev/ssh/workers.
func (w *world) addStatic(ts *testscript.TestScript, names []string) error {
	var list []string
	for n, name := range names {
		arn := fmt.Sprintf("arn:aws:ec2:us-east-1:111122223333:instance/i-%017x", n+1)
		list = append(list, fmt.Sprintf(`{"arn":%q,"address":"localhost","name":%q,"zone":"rack"}`, arn, name))
		w.join(ts, name, localaws.Instance{ID: ledger.InstanceID(arn), ARN: arn})
	}
	_, err := w.secrets.CreateSecret(w.t.Context(), &secretsmanager.CreateSecretInput{
		Name: aws.String("/dev/ssh/workers"), SecretString: aws.String(`{"schema":"rotatessh.workers/v1","workers":[` + strings.Join(list, ",") + `]}`),
	})
	return err
}

func (w *world) join(ts *testscript.TestScript, name string, i localaws.Instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ts.Setenv(name, i.ID)
	w.workers[name] = &machine{Instance: i}
}

// crowd: so many tagged instances that the rotator cannot name them in one answer, since each has the longest name.
func (w *world) addCrowd(*testscript.TestScript, []string) error {
	for range 5000 {
		_, err := w.server.RunInstance(localaws.Instance{NoMetadata: true, Tags: map[string]string{"RotateSSHKeys": "True", "Name": strings.Repeat("\U0001F511", 256)}})
		if err != nil {
			return err
		}
	}
	w.timeout = time.Minute
	return w.deploy(nil, nil)
}

// invoke allowed|CODE: what AWS says to an operator who invokes the rotator.
func (w *world) permit(_ *testscript.TestScript, args []string) error {
	w.allow()
	w.allow = func() {}
	if code := args[0]; code != "allowed" {
		w.allow = w.server.OnCall(localaws.Fault{
			Service: "lambda", Action: "Invoke", Match: func(c localaws.Call) bool { return c.Principal == "operator" },
			Before: func(localaws.Call) error { return &localaws.APIError{Code: code, Message: "no", Status: 403} },
		})
	}
	return nil
}

// asked N: so often has the rotator told who its workers are, since this was asked last.
func (w *world) asked(_ *testscript.TestScript, args []string) error {
	n := 0
	for _, c := range w.server.Calls() {
		if c.Service == "lambda" && c.Principal == "operator" && c.ErrorCode == "" && bytes.Contains(c.Input, []byte(`"request":"workers"`)) {
			n++
		}
	}
	n, w.answers = n-w.answers, n
	if fmt.Sprint(n) != args[0] {
		return fmt.Errorf("the rotator was asked %d times", n)
	}
	return nil
}

// older NAME: a rotator that was built before anybody could ask for its workers.
func (w *world) deployOlder(_ *testscript.TestScript, args []string) error {
	program, err := exec.LookPath("older-rotator")
	if err != nil {
		return err
	}
	_, err = w.server.CreateFunction(localaws.FunctionSpec{Name: args[0], Command: []string{program}, Stderr: w.t.Output()})
	return err
}

// olderRotator is to what a rotator knows nothing of what the real one is to a kind that nobody has thought of yet.
func olderRotator() {
	lambda.Start(func(_ context.Context, event json.RawMessage) (any, error) {
		return operator.Parse(bytes.Replace(event, []byte(operator.Workers), []byte("unheard-of"), 1))
	})
}
