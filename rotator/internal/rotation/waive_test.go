package rotation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

func (r *rig) waiver(w *worker, d time.Duration) operator.Request {
	req := operator.New(operator.Waive, r.arn, "ann")
	req.Worker, req.Until, req.Reason = ledger.InstanceID(w.arn), time.Now().Add(d), "dead disk"
	return req
}

func TestAWaivedWorkerIsNamedAndNotWaitedFor(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 2, "setSecret")
	dead := r.workers[1]
	r.quietly(func() { r.pass(r.workers[0]) })
	if err := r.soon("testSecret", token); err == nil {
		t.Fatal("passed without the second worker")
	}
	r.mustAsk(r.waiver(dead, time.Hour))
	r.mustAsk(r.waiver(dead, time.Hour))
	dead.acked = false // given up by the operator: its old key alone is accepted there from now on
	r.mustStep("testSecret", token)
	r.mustStep("finishSecret", token)
	for _, step := range []string{"testSecret", "finishSecret"} {
		report := r.reportOf(step)
		if !report.Passed || report.Expected != 1 || report.Ready != 1 || len(report.Waived) != 1 || report.Waived[0].Worker != dead.arn ||
			report.Waived[0].Code != "behind" || !strings.Contains(report.Waived[0].Message, "by ann: dead disk") {
			t.Errorf("report of %s is %+v", step, report)
		}
	}
	r.complete(token)
	r.follow() // it comes back, and counts although it is still waived
	r.followPublications()
	r.complete(r.rotate())
	if report := r.reportOf("finishSecret"); report.Expected != 2 || len(report.Waived) != 0 {
		t.Errorf("report is %+v", report)
	}
}

func TestAWaiverEnds(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 2, "setSecret")
	r.quietly(func() { r.pass(r.workers[0]) })
	r.mustAsk(r.waiver(r.workers[1], 2*time.Second))
	time.Sleep(3 * time.Second)
	if err := r.soon("testSecret", token); err == nil || !strings.Contains(err.Error(), "behind 1") {
		t.Errorf("testSecret: %v", err)
	}
}

func TestWaivingEverybodyDoesNotOpenTheGate(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 1, "setSecret")
	r.mustAsk(r.waiver(r.workers[0], time.Hour))
	if err := r.soon("testSecret", token); err == nil || !strings.Contains(err.Error(), "no running instance counts") {
		t.Errorf("testSecret: %v", err)
	}
}

func TestWaiversOfThePastOrForEverAreRefused(t *testing.T) {
	t.Parallel()
	r, _ := inRotation(t, 1, "setSecret")
	for _, d := range []time.Duration{-time.Minute, 31 * 24 * time.Hour} {
		if _, err := r.ask(t.Context(), r.waiver(r.workers[0], d)); err == nil {
			t.Errorf("a waiver for %v was written", d)
		}
	}
}
