package main

import (
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

// killAt kills the function's processes once, when a call of theirs that match accepts took effect.
func (d *deployment) killAt(match func(localaws.Call) bool) (killed *atomic.Bool) {
	killed = new(atomic.Bool)
	d.aws.OnCall(localaws.Fault{
		Match: func(c localaws.Call) bool { return c.Principal == "RotateSSH" && match(c) },
		After: func(localaws.Call) error {
			if !killed.CompareAndSwap(false, true) {
				return nil
			}
			for _, pid := range d.aws.FunctionPIDs("RotateSSH") {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			return localaws.ErrDrop
		},
	})
	return killed
}

func (d *deployment) startRotation() {
	d.t.Helper()
	if _, err := d.secrets.RotateSecret(d.t.Context(), &secretsmanager.RotateSecretInput{SecretId: &d.arn, RotationLambdaARN: &d.lambda}); err != nil {
		d.t.Fatal(err)
	}
}

// settled checks that everything is as a finished rotation from old leaves it.
func (d *deployment) settled(old keypair.Pair) {
	d.t.Helper()
	current := d.currentPair()
	doc, err := d.keysets.Fetch(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	if have, _ := doc.Keyset.Find(keyset.Current); have.PublicKey != current.PublicKey() || current.PublicKey() == old.PublicKey() {
		d.t.Errorf("keyset's current key is %s, AWSCURRENT's %s", have.PublicKey.Fingerprint(), current.Fingerprint())
	}
	if !slices.ContainsFunc(doc.Keyset.Keys, func(k keyset.Key) bool { return k.PublicKey == old.PublicKey() && k.State == keyset.Retiring }) {
		d.t.Errorf("the old key is not retiring: %+v", doc.Keyset.Keys)
	}
	s, err := d.secrets.DescribeSecret(d.t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &d.arn})
	if err != nil {
		d.t.Fatal(err)
	}
	for version, labels := range s.VersionIdsToStages {
		if slices.Contains(labels, "AWSPENDING") {
			d.t.Errorf("AWSPENDING is left over on %s", version)
		}
	}
}

func movesCurrent(c localaws.Call) bool {
	return c.Action == "UpdateSecretVersionStage" && strings.Contains(string(c.Input), "AWSCURRENT") && !strings.Contains(string(c.Input), "/dev/ssh/public")
}

func TestFunctionKilledAfterTheSwitchIsCompletedByTheLabelEvent(t *testing.T) {
	d := deployRetrying(t, time.Hour) // Secrets Manager's own retry does not come in time
	d.addMachine()
	d.rotate()
	old := d.currentPair()
	killed := d.killAt(movesCurrent)
	d.startRotation()
	d.eventually("the function is gone", func() bool { return killed.Load() && len(d.aws.FunctionPIDs("RotateSSH")) == 0 })
	if doc, err := d.keysets.Fetch(t.Context()); err != nil || doc.Keyset.Generation != 3 {
		t.Fatalf("keyset is of generation %d, %v: the function was not killed in time", doc.Keyset.Generation, err)
	}
	event := `{"source":"aws.secretsmanager","detail-type":"Secret Label Updated","resources":["` + d.arn + `"],"detail":{"labelUpdated":"AWSCURRENT"}}`
	out, err := d.aws.Invoke(t.Context(), "RotateSSH", []byte(event))
	if err != nil || !strings.Contains(string(out), `"published":true`) {
		t.Errorf("label event: %s, %v", out, err)
	}
	d.settled(old)
}

func TestFunctionKilledAnywhereIsCompletedBySecretsManagersRetry(t *testing.T) {
	d := deploy(t)
	d.addMachine()
	d.rotate()
	for name, match := range map[string]func(localaws.Call) bool{
		"storing the key": func(c localaws.Call) bool {
			return c.Action == "PutSecretValue" && strings.Contains(string(c.Input), "AWSPENDING")
		},
		"staging the keyset": func(c localaws.Call) bool {
			return c.Action == "PutSecretValue" && strings.Contains(string(c.Input), "ROTATESSH_STAGED")
		},
		"telling the beacon": func(c localaws.Call) bool {
			return c.Action == "PutItem" && strings.Contains(string(c.Input), `"beacon"`)
		},
		"asking workers": func(c localaws.Call) bool { return c.Action == "BatchGetItem" },
		"taking the lease": func(c localaws.Call) bool {
			return c.Action == "PutItem" && strings.Contains(string(c.Input), "promoting")
		},
		"moving AWSCURRENT": movesCurrent,
		"dropping AWSPENDING": func(c localaws.Call) bool {
			return c.Action == "UpdateSecretVersionStage" && strings.Contains(string(c.Input), "AWSPENDING")
		},
	} {
		old := d.currentPair()
		killed := d.killAt(match)
		d.rotate()
		if !killed.Load() {
			t.Errorf("%s: the function was not killed", name)
		}
		d.settled(old)
	}
}
