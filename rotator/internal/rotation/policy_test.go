package rotation_test

import (
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/common/ledger"
)

func TestThresholdOpensTheGateAndNamesWhoIsGivenUp(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 4, "setSecret", func(r *rig) { r.policy.Threshold = 75 })
	r.quietly(func() { r.pass(r.workers[0]); r.pass(r.workers[1]) })
	if err := r.soon("testSecret", token); err == nil || !strings.Contains(err.Error(), "2 of 4 workers are ready") {
		t.Errorf("testSecret with half of them: %v", err)
	}
	r.quietly(func() { r.pass(r.workers[2]) })
	r.workers[3].acked = false // given up by the operator's threshold
	r.mustStep("testSecret", token)
	r.mustStep("finishSecret", token)
	report := r.reportOf("finishSecret")
	if !report.Passed || report.Expected != 4 || report.Ready != 3 || len(report.Laggards) != 1 || report.Laggards[0].Worker != r.workers[3].arn {
		t.Errorf("report is %+v", report)
	}
	r.complete(token)
}

func TestMinimumOfReadyWorkersHoldsWhateverTheThreshold(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 2, "setSecret", func(r *rig) { r.policy.MinWorkers = 3 })
	r.follow()
	if err := r.soon("testSecret", token); err == nil || !strings.Contains(err.Error(), "at least 3 must be") {
		t.Errorf("testSecret: %v", err)
	}
}

func TestAFleetThatShrankBlocksUntilItIsBackOrAllowed(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 5, "setSecret")
	r.follow()
	for i := range 2 {
		if err := r.aws.SetInstanceState(ledger.InstanceID(r.workers[i].arn), "terminated"); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []string{"testSecret", "finishSecret"} {
		if err := r.soon(s, token); err == nil || !strings.Contains(err.Error(), "only 3 workers are there, 5 at the last switch") {
			t.Errorf("%s: %v", s, err)
		}
	}
	if err := r.aws.SetInstanceState(ledger.InstanceID(r.workers[0].arn), "running"); err != nil {
		t.Logf("cannot be started again (%v): another one takes its place", err)
		r.addWorker()
		r.follow()
	}
	r.followPublications()
	r.mustStep("testSecret", token)
	r.mustStep("finishSecret", token)
	r.complete(token)
}

// scans is how often the ledger was looked through.
func (r *rig) scans() int {
	segments := 0
	for _, c := range r.aws.Calls() {
		if c.Action == "Scan" {
			segments++
		}
	}
	return segments / 8
}

func (r *rig) untag(w *worker) {
	r.t.Helper()
	if err := r.aws.UntagInstance(ledger.InstanceID(w.arn), "RotateSSHKeys"); err != nil {
		r.t.Fatal(err)
	}
}

func TestAWorkerThatHasLostItsTagIsCountedAndNamed(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 3, "setSecret", func(r *rig) { r.policy.MaxShrink = 50 })
	lost := r.workers[1]
	r.untag(lost)
	if err := r.aws.SetInstanceState(ledger.InstanceID(r.workers[2].arn), "terminated"); err != nil {
		t.Fatal(err)
	}
	r.quietly(func() { r.pass(r.workers[0]) })
	err := r.soon("testSecret", token)
	if err == nil || !strings.Contains(err.Error(), "1 of 2 workers is ready, 1 counted although they have lost their tag or group: "+ledger.InstanceID(lost.arn)) {
		t.Errorf("testSecret: %v", err)
	}
	before := r.scans()
	r.follow()
	r.followPublications()
	r.mustStep("testSecret", token)
	r.mustStep("finishSecret", token)
	if n := r.scans() - before; n != 1 {
		t.Errorf("the ledger was looked through %d times", n)
	}
	for _, phase := range []string{"testSecret", "finishSecret"} {
		if report := r.reportOf(phase); !report.Passed || report.Expected != 2 || len(report.Untagged) != 1 || report.Untagged[0] != lost.arn {
			t.Errorf("report of %s is %+v", phase, report)
		}
	}
	r.workers = r.workers[:2]
	r.complete(token)
}

func TestAWorkerThatLosesItsTagAfterTestSecretStillCounts(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 2, "setSecret")
	r.follow()
	r.mustStep("testSecret", token)
	r.untag(r.workers[1])
	r.workers[1].alter = func(a *ledger.Ack) { a.Users[0].Keys[1].Accepted = ledger.No }
	r.follow()
	if err := r.soon("finishSecret", token); err == nil || !strings.Contains(err.Error(), "refused 1") {
		t.Errorf("finishSecret: %v", err)
	}
	if version, _ := r.labelled("AWSCURRENT"); version == token {
		t.Error("AWSCURRENT has moved")
	}
}

func TestWhoAcknowledgesForAnotherSecretOrLongAgoIsNoWorker(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 1, "setSecret")
	for _, change := range []func(*ledger.Ack){
		func(a *ledger.Ack) { a.SecretARN += "-other" },
		func(a *ledger.Ack) { a.ExpiresAt = 1 },
	} {
		w := r.addWorker()
		r.untag(w)
		w.alter = change
	}
	r.follow()
	r.mustStep("testSecret", token)
	if report := r.reportOf("testSecret"); report.Expected != 1 || len(report.Untagged) != 0 {
		t.Errorf("report is %+v", report)
	}
}

func TestSilentWorkersCanBeIgnored(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, func(r *rig) { r.policy.IgnoreSilent = true })
	r.followPublications()
	r.complete(r.rotate())
	token := r.startPublished()
	r.onCall = nil
	silent := r.addWorker()
	r.mustStep("testSecret", token)
	report := r.reportOf("testSecret")
	if report.Expected != 1 || len(report.Waived) != 1 || report.Waived[0].Worker != silent.arn || report.Waived[0].Code != "silent" {
		t.Errorf("report is %+v", report)
	}
}
