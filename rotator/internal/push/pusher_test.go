package push_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/push"
)

// instances starts an endpoint with that many managed instances.
func instances(t *testing.T, n int, run localaws.CommandRunner) (*localaws.Server, *push.Pusher, []string) {
	t.Helper()
	server, err := localaws.Start(localaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	var ids []string
	for range n {
		i, err := server.RunInstance(localaws.Instance{NoMetadata: true})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, i.ID)
		if err := server.ManageInstance(i.ID, run); err != nil {
			t.Fatal(err)
		}
	}
	return server, push.NewPusher(ssm.NewFromConfig(aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL()), Credentials: credentials.NewStaticCredentialsProvider("AKIA", "x", ""),
	})), ids
}

func oneKey(t *testing.T) push.Document {
	k := keyset.Keyset{SecretARN: secretARN, Generation: 1, Keys: []keyset.Key{{State: keyset.Current, VersionID: "v", PublicKey: newKey(t)}}}
	return push.New(keystore.Document{VersionID: "d-1", Keyset: k}, "ec2-user", time.Now())
}

const wellDone = "noise\nrotatessh-push/1 outcome=applied holds=1 gone= generation=1 version=d-1 file=L2Y= port=22 hostkeys=ssh-ed25519:AAAA\n"

func TestManyInstancesAreServedFiftyAtATime(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	server, p, ids := instances(t, 120, func(_ context.Context, script string) localaws.CommandResult {
		if !strings.Contains(script, "<<'DOCUMENT'") {
			return localaws.CommandResult{ExitCode: 1}
		}
		if runs.Add(1)%40 == 0 {
			return localaws.CommandResult{ExitCode: 1, Stdout: "rotatessh-push/1 outcome=failed code=no-space text=ZnVsbA==\n"}
		}
		return localaws.CommandResult{Stdout: wellDone}
	})
	if err := server.ManageInstance(ids[3], nil); err != nil {
		t.Fatal(err)
	}
	if err := server.SetInstanceState(ids[4], "stopped"); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, r := range p.Push(t.Context(), append(ids, "i-0123456789abcdef0"), oneKey(t)) {
		counts[fmt.Sprint(r.Outcome, " ", r.Code)]++
	}
	if counts["applied "] != 116 || counts["failed no-space"] != 2 || counts["failed not-managed"] != 3 || len(counts) != 3 {
		t.Errorf("outcomes are %v", counts)
	}
	sent := 0
	for _, c := range server.Calls() {
		if c.Action == "SendCommand" {
			sent++
			if in := string(c.Input); !strings.Contains(in, `"MaxConcurrency":"25"`) || !strings.Contains(in, `"MaxErrors":"10"`) {
				t.Errorf("command is %.200s", in)
			}
		}
	}
	if sent != 3 {
		t.Errorf("%d commands were sent", sent)
	}
}

func TestWhatAnInstanceSaysIsNotTrusted(t *testing.T) {
	t.Parallel()
	d := oneKey(t)
	for _, c := range []struct{ out, code string }{
		{"", "no-answer"}, {"rotatessh-push/1 outcome=fine", "no-answer"},
		{strings.Replace(wellDone, "d-1", "d-0", 1), "no-answer"}, {strings.Replace(wellDone, "port=22", "port=0", 1), "no-answer"},
		{strings.Replace(wellDone, "holds=1", "holds=2", 1), "incomplete"}, {strings.Replace(wellDone, "holds=1", "holds=11", 1), "incomplete"},
	} {
		if r := d.Parse(c.out); r.Outcome != push.Failed || r.Code != c.code {
			t.Errorf("%q: %+v", c.out, r)
		}
	}
	many := strings.Replace(wellDone, "ssh-ed25519:AAAA", strings.Repeat("ssh-ed25519:AAAA,", 99), 1)
	if r := d.Parse(many); r.Outcome != push.Applied || len(r.HostKeys) != 16 {
		t.Errorf("%+v", r)
	}
	if r := d.Parse("rotatessh-push/1 outcome=failed code=" + strings.Repeat("x", 9999) + " text="); len(r.Code) > 300 {
		t.Errorf("a code of %d bytes", len(r.Code))
	}
}

func TestTheEndOfTheTimeIsAFailure(t *testing.T) {
	t.Parallel()
	_, p, ids := instances(t, 1, func(ctx context.Context, _ string) localaws.CommandResult {
		<-ctx.Done()
		return localaws.CommandResult{}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if r := p.Push(ctx, ids, oneKey(t))[ids[0]]; r.Outcome != push.Failed || r.Code != push.CodeCommand {
		t.Errorf("%+v", r)
	}
}

func TestNothingOfADocumentIsAWordOfTheShell(t *testing.T) {
	t.Parallel()
	k := keyset.Keyset{SecretARN: secretARN, Generation: 1, Keys: []keyset.Key{{State: keyset.Current, VersionID: "v", PublicKey: newKey(t)}}}
	for _, c := range []struct{ arn, version, user string }{
		{"arn:x' ; rm -rf /", "v", "u"}, {secretARN, "$(reboot)", "u"}, {secretARN, "v", "u;reboot"}, {secretARN, "v", "-u"}, {secretARN, "v", ""}, {secretARN + "\nx", "v", "u"},
	} {
		k := k
		k.SecretARN = c.arn
		if _, err := push.New(keystore.Document{VersionID: c.version, Keyset: k}, c.user, time.Now()).Script(); err == nil {
			t.Errorf("%q was pushed", c)
		}
	}
	script, err := push.New(keystore.Document{VersionID: "d-1", Keyset: k}, "ec2-user", time.Now()).Script()
	if err != nil || strings.Contains(script, k.Keys[0].PublicKey.String()[:40]) || strings.Contains(script, "@DOCUMENT@") {
		t.Errorf("the script holds the key outside its document, %v", err)
	}
}
