package rotation_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

// revocation asks to revoke the current key; n makes the version that replaces it.
func (r *rig) revocation(n int) operator.Request {
	r.t.Helper()
	req := r.request(operator.Revoke, fmt.Sprintf("%s%032x", operator.RevocationPrefix, n))
	current, pair := r.labelled("AWSCURRENT")
	req.CurrentVersionID = current
	r.watch.stolen(pair.PublicKey())
	for _, k := range r.document().Keyset.Keys {
		r.watch.stolen(k.PublicKey)
	}
	return req
}

// refused fails the test unless the keyset in force retires the key for good.
func (r *rig) refused(fingerprint string) {
	r.t.Helper()
	doc := r.document().Keyset
	accepted := slices.ContainsFunc(doc.Keys, func(k keyset.Key) bool { return k.PublicKey.Fingerprint() == fingerprint })
	listed := slices.ContainsFunc(doc.Retired, func(k keyset.Retired) bool { return k.Fingerprint == fingerprint })
	if accepted || !listed {
		r.t.Errorf("generation %d and the revoked key %s: accepted %v, retired %v", doc.Generation, fingerprint, accepted, listed)
	}
}

func TestRevokedKeysAreRefusedAtOnceAndForGood(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.followPublications()
	r.rotate()
	_, retiring := r.labelled("AWSCURRENT")
	second := r.rotate()
	_, stolen := r.labelled("AWSCURRENT")
	abandoned := r.startRotation()
	r.mustStep("createSecret", abandoned)
	r.mustStep("setSecret", abandoned)
	_, pending := r.labelled("AWSPENDING")
	req := r.revocation(1)
	out := r.mustAsk(req)
	if out.Already || out.CurrentVersionID != req.VersionID || strings.Contains(out.Message, "given up") {
		t.Errorf("answer is %+v", out)
	}
	r.complete(req.VersionID)
	for _, k := range []keypair.Pair{stolen, retiring, pending} {
		r.refused(k.Fingerprint())
	}
	if whole := r.document().Keyset.Retired[0].PublicKey; whole != stolen.PublicKey() {
		t.Error("workers cannot test that the stolen key is refused, since it is not among the newest retired ones")
	}
	for _, s := range steps() {
		if err := r.step(t.Context(), s, abandoned); err == nil {
			t.Errorf("%s of the rotation that was pending passed", s)
		}
	}
	if _, err := r.ask(t.Context(), r.back(req.VersionID, second)); err == nil || !strings.Contains(err.Error(), "has been revoked") {
		t.Errorf("rollback to the stolen key: %v", err)
	}
	before := r.document()
	if out := r.mustAsk(req); !out.Already || r.document().VersionID != before.VersionID {
		t.Errorf("the repetition's answer is %+v", out)
	}
	if report := r.reportOf("revoke"); !report.Passed || !strings.Contains(report.Asked, "user/ann: because") {
		t.Errorf("report is %+v", report)
	}
	r.complete(r.rotate())
	r.refused(stolen.Fingerprint())
	if _, pair := r.labelled("AWSCURRENT"); !pair.Revokes(stolen.Fingerprint()) {
		t.Error("the next version does not know any more that the key is revoked")
	}
}

func TestWhoStillAcceptsARevokedKeyIsReported(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.followPublications()
	r.rotate()
	_, stolen := r.labelled("AWSCURRENT")
	r.workers[1].alter = func(a *ledger.Ack) {
		for i, k := range a.Users[0].Keys {
			if k.Fingerprint == stolen.Fingerprint() && k.State == "retired" {
				a.Users[0].Keys[i].Accepted = ledger.Yes // from somewhere else
			}
		}
	}
	r.mustAsk(r.revocation(1))
	steady := func() ledger.Report {
		if _, err := r.handle(scheduleEvent()); err != nil {
			t.Error(err)
		}
		return r.reportOf("steady")
	}
	if got := steady(); got.Passed || got.Reasons["still-accepted"] != 1 || len(got.Laggards) != 1 || got.Laggards[0].Worker != r.workers[1].arn || !strings.Contains(got.Message, stolen.Fingerprint()) {
		t.Errorf("report is %+v", got)
	}
	r.workers[1].alter = nil
	r.follow()
	if got := steady(); !got.Passed || got.Ready != 2 {
		t.Errorf("report is %+v", got)
	}
}

func TestAKeysetThatWasWipedStillRefusesRevokedKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	r.rotate()
	_, stolen := r.labelled("AWSCURRENT")
	r.mustAsk(r.revocation(1))
	r.watch.pause(func() {
		if _, err := r.secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String(keysetName), SecretString: aws.String(`{}`)}); err != nil {
			t.Fatal(err)
		}
		r.startPublished()
	})
	r.refused(stolen.Fingerprint())
}

func TestALabelDoesNotBringARevokedKeyBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	first := r.rotate()
	_, stolen := r.labelled("AWSCURRENT")
	r.mustAsk(r.revocation(1))
	if _, err := r.secrets.UpdateSecretVersionStage(t.Context(), &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &r.arn, VersionStage: aws.String("AWSPENDING"), MoveToVersionId: &first,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ask(t.Context(), r.request(operator.Resume, first)); err == nil || !strings.Contains(err.Error(), "has been revoked") {
		t.Errorf("resume: %v", err)
	}
	r.refused(stolen.Fingerprint())
}

func TestRevocationNeedsTheExactNumberOfWorkersThatItLoses(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4)
	r.followPublications()
	r.rotate()
	_, stolen := r.labelled("AWSCURRENT")
	r.onCall = nil
	lost := r.workers[2:]
	r.waive(lost[0]) // changes nothing here: it loses access all the same
	r.onCall = append(r.onCall, r.followersAfter(r.workers[:2]))
	req := r.revocation(1)
	for _, n := range []int{0, 1, 3} {
		req.AcceptLockout = n
		_, err := r.ask(t.Context(), req)
		if err == nil || !strings.Contains(err.Error(), "--accept-lockout=2") || !strings.Contains(err.Error(), ledger.InstanceID(lost[0].arn)) || !strings.Contains(err.Error(), ledger.InstanceID(lost[1].arn)) {
			t.Errorf("accepting %d: %v", n, err)
		}
	}
	if current, _ := r.labelled("AWSCURRENT"); current != req.CurrentVersionID {
		t.Fatalf("AWSCURRENT is on %s", current)
	}
	req.AcceptLockout = 2
	for _, w := range lost {
		w.acked = false // given up
	}
	out := r.mustAsk(req)
	for _, w := range lost {
		if !strings.Contains(out.Message, ledger.InstanceID(w.arn)) {
			t.Errorf("%q does not name %s", out.Message, w.arn)
		}
	}
	r.complete(req.VersionID)
	r.refused(stolen.Fingerprint())
	report := r.reportOf("finishSecret")
	if len(report.Laggards) != 1 || len(report.Waived) != 1 {
		t.Errorf("report is %+v", report)
	}
	r.follow() // they come back
	r.complete(r.rotateFollowed())
}

func TestRevocationThatIsPendingCanBeResumedOrAborted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.followPublications()
	r.rotate()
	r.onCall = nil
	_, stolen := r.labelled("AWSCURRENT")
	req := r.revocation(1)
	if _, err := r.ask(t.Context(), req); err == nil || !strings.Contains(err.Error(), "2 workers would lose access") {
		t.Errorf("revoke: %v", err)
	}
	r.mustAsk(r.request(operator.Abort, req.VersionID))
	r.follow()
	r.complete(req.CurrentVersionID)
	if _, err := r.ask(t.Context(), req); err == nil || !strings.Contains(err.Error(), "has been given up") {
		t.Errorf("the request that was given up: %v", err)
	}
	req = r.revocation(2)
	if _, err := r.ask(t.Context(), req); err == nil {
		t.Error("revoked before workers follow")
	}
	r.follow()
	r.followPublications()
	r.mustAsk(r.request(operator.Resume, req.VersionID))
	r.complete(req.VersionID)
	r.refused(stolen.Fingerprint())
}

func TestRevocationIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.followPublications()
	refused := func(name string, req operator.Request, want string) {
		t.Helper()
		if _, err := r.ask(t.Context(), req); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("of a secret without a key", r.revocation(1), "no key yet")
	r.rotate()
	old := r.revocation(2)
	second := r.rotate()
	refused("of a version that is not current", old, "look again")
	other := r.revocation(3)
	if _, err := r.secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{
		SecretId: &r.arn, ClientRequestToken: &other.VersionID, SecretString: aws.String(r.value(r.arn, "AWSPREVIOUS")), VersionStages: []string{"AWSPENDING"},
	}); err != nil {
		t.Fatal(err)
	}
	refused("by a version that revokes nothing", other, "does not revoke")
	r.mustAsk(r.request(operator.Abort, other.VersionID))
	r.complete(second)
}

func TestRevocationOfAFleetThatIsNotThereHasToBeForced(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.followPublications()
	r.rotate()
	r.onCall = nil
	for _, w := range r.workers {
		w.acked = false
	}
	req := r.revocation(1)
	req.AcceptLockout = 2
	if _, err := r.ask(t.Context(), req); err == nil || !strings.Contains(err.Error(), "at least 1 must be") || !strings.Contains(err.Error(), "--force") {
		t.Errorf("with nobody ready: %v", err)
	}
	req.Force = true
	r.mustAsk(req)
	r.complete(req.VersionID)
}

func (r *rig) waive(w *worker) { r.mustAsk(r.waiver(w, time.Hour)) }

func TestProbesOfARevocationCountUnlessItIsForced(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.followPublications()
	r.rotate()
	r.refuseProbes()
	req := r.revocation(1)
	if _, err := r.ask(t.Context(), req); err == nil || !strings.Contains(err.Error(), "logging in with the pending key failed") {
		t.Errorf("revoke: %v", err)
	}
	req.Force = true
	r.mustAsk(req)
	r.complete(req.VersionID)
	if report := r.reportOf("testSecret"); !report.Passed || !strings.Contains(report.Message, "logging in") {
		t.Errorf("report is %+v", report)
	}
}

func TestRevocationAndFinishSecretAtTheSameTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	r.rotate()
	for i := range 6 {
		token := r.startRotation()
		for _, s := range steps()[:3] {
			r.mustStep(s, token)
		}
		req := r.revocation(i + 1)
		finished := make(chan error)
		go func() {
			time.Sleep(time.Duration(i) * 4 * time.Millisecond)
			finished <- r.step(context.WithoutCancel(t.Context()), "finishSecret", token)
		}()
		_, err := r.ask(t.Context(), req)
		finishErr := <-finished
		want := req.VersionID
		if err != nil {
			want = token
		}
		if (err == nil) == (finishErr == nil) {
			t.Errorf("revoke: %v, finishSecret: %v", err, finishErr)
		}
		r.complete(want)
	}
}
