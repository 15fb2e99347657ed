package rotation_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/rotation"
)

// soon calls a step that is expected to wait in vain: it does so for two rounds.
func (r *rig) soon(step, token string) error {
	r.rotator.TestOnlyPatience(600 * time.Millisecond)
	defer r.rotator.TestOnlyPatience(rotation.Patience)
	return r.step(r.t.Context(), step, token)
}

// inRotation gives a rig in the middle of its second rotation, up to and including the named step, and
// the token.
func inRotation(t *testing.T, workers int, after string, change ...func(*rig)) (*rig, string) {
	t.Helper()
	r := newRig(t, workers, change...)
	r.followPublications()
	r.rotate()
	r.onCall = nil
	token := r.startRotation()
	for _, s := range steps() {
		r.mustStep(s, token)
		if s == after {
			break
		}
	}
	return r, token
}

func TestGateNamesWorkersThatAreNotReady(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 3, "setSecret")
	r.workers[1].alter = func(a *ledger.Ack) {
		a.Outcome, a.Code, a.Message = ledger.Failed, "disk-full", "no space left on device"
	}
	r.quietly(func() { r.pass(r.workers[0]); r.pass(r.workers[1]) })
	for _, s := range []string{"testSecret", "finishSecret"} {
		err := r.soon(s, token)
		if err == nil {
			t.Fatalf("%s passed", s)
		}
		for _, want := range []string{
			"1 of 3 workers is ready", "failed:disk-full 1", "behind 1",
			ledger.InstanceID(r.workers[1].arn) + " (failed:disk-full: no space left on device)", ledger.InstanceID(r.workers[2].arn) + " (behind: ",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error lacks %q:\n%v", s, want, err)
			}
		}
		report := r.reportOf(s)
		if report.Passed || report.Expected != 3 || report.Ready != 1 || len(report.Laggards) != 2 || report.Reasons["behind"] != 1 || report.VersionID != token {
			t.Errorf("report of %s is %+v", s, report)
		}
	}
	if version, _ := r.labelled("AWSCURRENT"); version == token {
		t.Error("AWSCURRENT has moved")
	}
	r.workers[1].alter = nil
	r.follow()
	r.followPublications()
	r.complete(completions()[0].run(r, token))
	if report := r.reportOf("finishSecret"); !report.Passed || report.Expected != 3 || report.Ready != 3 {
		t.Errorf("report is %+v", report)
	}
}

func TestGateWaitsForAcknowledgements(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 3, "setSecret")
	var rounds atomic.Int64
	r.onCall = append(r.onCall, func(c localaws.Call) {
		if c.Action == "BatchGetItem" {
			if n := rounds.Add(1); n <= 3 {
				r.pass(r.workers[n-1])
			}
		}
	})
	r.mustStep("testSecret", token)
	if report := r.reportOf("testSecret"); !report.Passed || report.Ready != 3 || report.Probed != 2 || report.Pending == "" {
		t.Errorf("report is %+v", report)
	}
	var asked []int
	for _, c := range r.aws.Calls() {
		if c.Action == "BatchGetItem" {
			asked = append(asked, strings.Count(string(c.Input), `"ack#`))
		}
	}
	// All, then those who are left, all again before it opens, and those to log in to. Each pass comes after a
	// round's answer.
	if diff := cmp.Diff([]int{3, 3, 2, 1, 3, 2}, asked[len(asked)-6:]); diff != "" {
		t.Errorf("workers asked about in each round (-want +got):\n%s", diff)
	}
}

func TestGateSeesAWorkerThatFailsWhileOthersAreWaitedFor(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 2, "setSecret")
	r.quietly(func() { r.pass(r.workers[0]) })
	var rounds atomic.Int64
	r.onCall = append(r.onCall, func(c localaws.Call) {
		if c.Action == "BatchGetItem" && rounds.Add(1) == 1 {
			r.workers[0].alter = func(a *ledger.Ack) { a.Outcome, a.Code = ledger.Failed, "drift" }
			r.pass(r.workers[0])
			r.pass(r.workers[1])
		}
	})
	if err := r.soon("testSecret", token); err == nil || !strings.Contains(err.Error(), "failed:drift 1") {
		t.Errorf("testSecret: %v", err)
	}
}

func TestGateOutlivesAReadThatFails(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 1, "setSecret")
	var rounds atomic.Int64
	r.aws.OnCall(localaws.Fault{Action: "BatchGetItem", Before: func(localaws.Call) error {
		switch rounds.Add(1) {
		case 2:
			return &localaws.APIError{Code: "ProvisionedThroughputExceededException", Message: "injected"}
		case 3:
			r.follow()
		}
		return nil
	}})
	r.mustStep("testSecret", token)
}

func TestAnEmptyFleetBlocksUnlessThereIsNoKeyYet(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	token := r.startRotation()
	for _, s := range steps() {
		r.mustStep(s, token)
	}
	r.complete(token)
	if n := r.probes.Load(); n != 0 {
		t.Errorf("%d probes of nobody", n)
	}
	token = r.startRotation()
	r.mustStep("createSecret", token)
	r.mustStep("setSecret", token)
	for _, s := range []string{"testSecret", "finishSecret"} {
		if err := r.step(t.Context(), s, token); err == nil || !strings.Contains(err.Error(), "no running instance") {
			t.Errorf("%s with nobody: %v", s, err)
		}
	}
	if version, _ := r.labelled("AWSCURRENT"); version == token {
		t.Error("AWSCURRENT has moved")
	}
}

func TestSilentWorkersBlockTheFirstRotationToo(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	token := r.startPublished()
	if err := r.soon("testSecret", token); err == nil || !strings.Contains(err.Error(), "silent 1") {
		t.Errorf("testSecret: %v", err)
	}
	r.follow()
	r.followPublications()
	r.complete(completions()[0].run(r, token))
}

func TestBootingWorkersAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 1, "setSecret")
	r.follow()
	late, err := r.aws.RunInstance(localaws.Instance{Tags: map[string]string{"RotateSSHKeys": "True"}, NoMetadata: true, LaunchTime: time.Now().Add(2 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	r.mustStep("testSecret", token)
	if report := r.reportOf("testSecret"); report.Expected != 1 || report.Ready != 1 {
		t.Errorf("report is %+v", report)
	}
	if err := r.aws.SetInstanceState(late.ID, "terminated"); err != nil {
		t.Fatal(err)
	}
	early, err := r.aws.RunInstance(localaws.Instance{Tags: map[string]string{"RotateSSHKeys": "True"}, NoMetadata: true, LaunchTime: time.Now().Add(-time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.soon("finishSecret", token); err == nil || !strings.Contains(err.Error(), early.ID+" (silent") {
		t.Errorf("finishSecret with a silent worker: %v", err)
	}
}

func TestOnlyBootingWorkersAreNotAFleet(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 1, "setSecret")
	if err := r.aws.SetInstanceState(ledger.InstanceID(r.workers[0].arn), "stopped"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.aws.RunInstance(localaws.Instance{Tags: map[string]string{"RotateSSHKeys": "True"}, NoMetadata: true, LaunchTime: time.Now().Add(2 * time.Second)}); err != nil {
		t.Fatal(err)
	}
	if err := r.soon("testSecret", token); err == nil || !strings.Contains(err.Error(), "1 is booting") {
		t.Errorf("testSecret: %v", err)
	}
}

func TestFinishSecretAsksTheFleetItself(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 2, "setSecret")
	if err := r.soon("finishSecret", token); err == nil || !strings.Contains(err.Error(), "behind 2") {
		t.Errorf("finishSecret before anybody was ready: %v", err)
	}
	r.follow()
	r.mustStep("testSecret", token)
	r.workers[1].alter = func(a *ledger.Ack) { a.Users[0].Keys[1].Accepted = ledger.No }
	r.follow()
	if err := r.soon("finishSecret", token); err == nil || !strings.Contains(err.Error(), "refused 1") {
		t.Errorf("finishSecret after testSecret had passed: %v", err)
	}
	if version, _ := r.labelled("AWSCURRENT"); version == token {
		t.Error("AWSCURRENT has moved")
	}
}

func TestAKeyThatIsNotPublishedIsNeverPromoted(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 2, "setSecret")
	r.follow()
	r.mustStep("testSecret", token)
	// An operation that knows nothing of this rotation overwrites the keyset just before the switch.
	before := r.document()
	var once atomic.Bool
	r.aws.OnCall(localaws.Fault{Action: "PutItem", Match: func(c localaws.Call) bool { return strings.Contains(string(c.Input), "promoting") },
		After: func(localaws.Call) error {
			if once.CompareAndSwap(false, true) {
				r.quietly(func() { r.overwrite(before.Keyset) })
			}
			return nil
		}})
	if err := r.soon("finishSecret", token); err == nil {
		t.Error("finishSecret passed")
	}
	if version, _ := r.labelled("AWSCURRENT"); version == token {
		t.Error("AWSCURRENT has moved")
	}
	r.follow()
	r.followPublications()
	r.complete(completions()[0].run(r, token))
}

// overwrite publishes a keyset that retires the pending key.
func (r *rig) overwrite(k keyset.Keyset) {
	k.Generation++
	for i := range k.Keys {
		if k.Keys[i].State == keyset.Pending {
			k.Keys[i].State, k.Keys[i].NotAfter = keyset.Retiring, time.Now().Add(time.Hour)
		}
	}
	value, err := k.Encode()
	if err != nil {
		r.t.Error(err)
		return
	}
	if _, err := r.secrets.PutSecretValue(context.Background(), &secretsmanager.PutSecretValueInput{SecretId: aws.String(keysetName), SecretString: aws.String(string(value))}); err != nil {
		r.t.Error(err)
	}
}

func TestAPercentageOfTheReadyWorkersIsProbed(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 5, "setSecret", func(r *rig) { r.policy.ProbePercent = 50 })
	r.follow()
	r.mustStep("testSecret", token)
	if report := r.reportOf("testSecret"); report.Probed != 3 {
		t.Errorf("%d of 5 workers were probed", report.Probed)
	}
}

func TestAFailedProbeStopsTheRotation(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 3, "setSecret")
	r.follow()
	r.probeErr = func(w fleet.Worker) error { return errors.New(w.ID + ": auth: the server refused the key") }
	err := r.step(t.Context(), "testSecret", token)
	if err == nil || !strings.Contains(err.Error(), "failed on 2 of 2 workers tried") || !strings.Contains(err.Error(), "auth: the server refused") {
		t.Errorf("testSecret: %v", err)
	}
	if report := r.reportOf("testSecret"); report.Passed || report.Probed != 2 || report.Ready != 3 {
		t.Errorf("report is %+v", report)
	}
}

func TestTheLeaseOfAnotherOperationIsWaitedFor(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 1, "setSecret")
	r.follow()
	lease := ledger.Lease{SecretARN: r.arn, Owner: "somebody", Purpose: "aborting"}
	if err := r.ledger.AcquireLease(t.Context(), lease, time.Now(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := r.soon("finishSecret", token); !errors.Is(err, ledger.ErrLeaseHeld) || !strings.Contains(err.Error(), "aborting") {
		t.Errorf("finishSecret: %v", err)
	}
	if version, _ := r.labelled("AWSCURRENT"); version == token {
		t.Error("AWSCURRENT has moved")
	}
	time.AfterFunc(700*time.Millisecond, func() {
		if err := r.ledger.ReleaseLease(context.Background(), lease); err != nil {
			t.Error(err)
		}
	})
	r.followPublications()
	r.mustStep("finishSecret", token)
	r.complete(token)
}

func TestAReportTellsHowOftenItsPhaseHasFailedAndSinceWhen(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 1, "setSecret")
	for n := range 2 {
		if err := r.soon("testSecret", token); err == nil {
			t.Fatal("testSecret passed")
		}
		if report := r.reportOf("testSecret"); report.Failures != n+1 {
			t.Errorf("%d failures after %d", report.Failures, n+1)
		}
	}
	first := r.reportOf("testSecret").Since
	r.follow()
	r.mustStep("testSecret", token)
	report := r.reportOf("testSecret")
	if !report.Passed || report.Failures != 2 || !report.Since.Equal(first) || !report.Since.Before(report.At) {
		t.Errorf("report is %+v", report)
	}
}
