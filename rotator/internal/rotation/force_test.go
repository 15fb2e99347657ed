package rotation_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

// givenUp says that the operator gives workers up from here on, and their names.
func givenUp(workers ...*worker) (names []string) {
	for _, w := range workers {
		w.acked = false
		names = append(names, ledger.InstanceID(w.arn))
	}
	slices.Sort(names) // as the inventory has them
	return names
}

// forced asks first without force, which must be refused with a hint at it, and then with it.
func (r *rig) forced(req operator.Request, want string) operator.Response {
	r.t.Helper()
	if _, err := r.ask(r.t.Context(), req); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--force") {
		r.t.Errorf("%s without force: %v", req.Request, err)
	}
	req.Force = true
	return r.mustAsk(req)
}

func TestForcedResumeSwitchesWithoutWorkersAndNamesThem(t *testing.T) {
	t.Parallel()
	r, logs := audited(t, 3)
	r.rotator.TestOnlyPatience(0)
	r.followPublications()
	r.rotate()
	r.onCall = nil
	token := r.startPublished()
	r.quietly(func() { r.pass(r.workers[0]) })
	gone := givenUp(r.workers[1:]...)
	r.forced(r.request(operator.Resume, token), "1 of 3 workers is ready")
	r.complete(token)
	report := r.reportOf("finishSecret")
	if report.Ready != 1 || len(report.Laggards) != 2 || !strings.Contains(report.Message, "2 workers") || ledger.InstanceID(report.Laggards[0].Worker) != gone[0] {
		t.Errorf("report is %+v", report)
	}
	named := line(t, logs, "switching without workers, which are given up", "workers")
	if workers, _ := named["workers"].([]any); len(workers) != 2 || workers[1] != gone[1]+" behind" || named["reason"] != "because" {
		t.Errorf("log names %v", named)
	}
	r.follow()
	r.complete(r.rotateFollowed())
}

func TestForcedRollbackGoesBackWithoutWorkers(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.rotator.TestOnlyPatience(0)
	r.followPublications()
	first := r.rotate()
	second := r.rotate()
	r.onCall = nil
	givenUp(r.workers...)
	r.forced(r.back(second, first), "0 of 2 workers are ready")
	r.complete(first)
}

func TestForcedAbortGivesUpWhatMayBeTheLastKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, func(r *rig) { r.initial = "not a key pair" })
	r.watch.pause(func() {
		token := r.startRotation()
		if out := r.forced(r.request(operator.Abort, token), "may be the last"); !strings.Contains(out.Message, "keyset stays as it is") {
			t.Errorf("answer is %+v", out)
		}
	})
	if version := r.holder("AWSPENDING"); version != "" {
		t.Errorf("AWSPENDING is on %s", version)
	}
}

func TestForceIsNoWayAroundARevokedKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	first := r.rotate()
	revocation := r.revocation(1)
	r.mustAsk(revocation)
	req := r.back(revocation.VersionID, first)
	req.Force = true
	if _, err := r.ask(t.Context(), req); err == nil || !strings.Contains(err.Error(), "has been revoked") {
		t.Errorf("rollback: %v", err)
	}
	r.complete(revocation.VersionID)
}

func TestUnwaivedWorkerCountsAgain(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 2, "setSecret")
	r.quietly(func() { r.pass(r.workers[0]) })
	waiver := r.waiver(r.workers[1], 3600e9)
	r.mustAsk(waiver)
	r.mustStep("testSecret", token)
	end := operator.New(operator.Unwaive, r.arn, "ann")
	end.Worker = waiver.Worker
	if out := r.mustAsk(end); out.Already {
		t.Errorf("answer is %+v", out)
	}
	if out := r.mustAsk(end); !out.Already {
		t.Errorf("the repetition's answer is %+v", out)
	}
	if err := r.soon("testSecret", token); err == nil || !strings.Contains(err.Error(), "behind 1") {
		t.Errorf("testSecret: %v", err)
	}
}
