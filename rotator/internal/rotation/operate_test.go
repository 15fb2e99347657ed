package rotation_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	logged "go.uber.org/zap/zaptest/observer"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

// ask sends a request as the command does.
func (r *rig) ask(ctx context.Context, req operator.Request) (operator.Response, error) {
	raw, err := json.Marshal(req)
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := r.rotator.Handle(ctx, raw)
	response, _ := out.(operator.Response)
	return response, err
}

func (r *rig) mustAsk(req operator.Request) operator.Response {
	r.t.Helper()
	out, err := r.ask(r.t.Context(), req)
	if err != nil {
		r.t.Fatalf("%s: %v", req.Request, err)
	}
	return out
}

func (r *rig) request(kind operator.Kind, version string) operator.Request {
	req := operator.New(kind, r.arn, "arn:aws:iam::111122223333:user/ann")
	req.VersionID, req.Reason = version, "because"
	return req
}

// back asks to go back from one version to another.
func (r *rig) back(from, to string) operator.Request {
	req := r.request(operator.Rollback, to)
	req.CurrentVersionID = from
	return req
}

// state is what the keyset in force says of a key, "" if it does not hold it.
func (r *rig) state(key keyset.PublicKey) keyset.State {
	for _, k := range r.document().Keyset.Keys {
		if k.PublicKey == key {
			return k.State
		}
	}
	return ""
}

func TestAbortGivesTheRotationUpAndKeepsItsKeyAccepted(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 2, "setSecret")
	current, _ := r.labelled("AWSCURRENT")
	_, pair := r.labelled("AWSPENDING")
	out := r.mustAsk(r.request(operator.Abort, token))
	if out.Already || out.CurrentVersionID != current || out.Generation != r.document().Keyset.Generation {
		t.Errorf("answer is %+v", out)
	}
	r.complete(current)
	if state := r.state(pair.PublicKey()); state != keyset.Retiring {
		t.Errorf("the key that was given up is %q, want retiring", state)
	}
	if report := r.reportOf("abort"); !report.Passed || report.VersionID != token || !strings.Contains(report.Asked, "user/ann: because") {
		t.Errorf("report is %+v", report)
	}
	before := r.document()
	if out := r.mustAsk(r.request(operator.Abort, token)); !out.Already {
		t.Error("the repetition claims to have done it")
	}
	if r.document().VersionID != before.VersionID {
		t.Error("the repetition published something")
	}
	for _, s := range steps() {
		if err := r.step(t.Context(), s, token); err == nil {
			t.Errorf("%s of the rotation that was given up passed", s)
		}
	}
	r.followPublications()
	r.follow()
	r.complete(r.rotate()) // automatic rotation is still on
}

func TestAbortBeforeTheNewKeyExists(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	current := r.rotate()
	token := r.startRotation()
	r.mustAsk(r.request(operator.Abort, token))
	r.complete(current)
}

func TestAbortOfAFinishedRotationIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	token := r.rotate()
	if _, err := r.ask(t.Context(), r.request(operator.Abort, token)); err == nil || !strings.Contains(err.Error(), "rollback") {
		t.Errorf("abort: %v", err)
	}
	r.complete(token)
}

func TestAbortIsRefusedIfTheCurrentKeyCannotBeRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, func(r *rig) { r.initial = "not a key pair" })
	var token string
	r.watch.pause(func() {
		token = r.startRotation()
		if _, err := r.ask(t.Context(), r.request(operator.Abort, token)); err == nil || !strings.Contains(err.Error(), "may be the last") {
			t.Errorf("abort: %v", err)
		}
	})
	if version := r.holder("AWSPENDING"); version != token {
		t.Error("AWSPENDING was dropped")
	}
}

// holder is the version that bears a label, whatever its value.
func (r *rig) holder(label string) string {
	for id, v := range r.versions() {
		if slices.Contains(v.Stages, label) {
			return id
		}
	}
	return ""
}

// wipeLedger takes away all that the rotator has written there.
func (r *rig) wipeLedger() {
	r.t.Helper()
	out, err := r.db.Scan(r.t.Context(), &dynamodb.ScanInput{TableName: aws.String(table)})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, item := range out.Items {
		_, err := r.db.DeleteItem(r.t.Context(), &dynamodb.DeleteItemInput{
			TableName: aws.String(table), Key: map[string]types.AttributeValue{"pk": item["pk"], "sk": item["sk"]},
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestAbortWithoutAnythingInTheLedger(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 1, "setSecret")
	current, _ := r.labelled("AWSCURRENT")
	generation := r.document().Keyset.Generation
	r.wipeLedger()
	r.mustAsk(r.request(operator.Abort, token))
	r.complete(current)
	if now := r.document().Keyset.Generation; now <= generation {
		t.Errorf("generation %d follows %d", now, generation)
	}
}

func TestAbortAndFinishSecretAtTheSameTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(r *rig) { r.policy.RetireAfter = 500 * time.Millisecond })
	r.followPublications()
	r.rotate()
	aborted := 0
	for i := range 12 {
		before, _ := r.labelled("AWSCURRENT")
		token := r.startRotation()
		for _, s := range steps()[:3] {
			r.mustStep(s, token)
		}
		var both sync.WaitGroup
		var abortErr, finishErr error
		both.Go(func() {
			time.Sleep(time.Duration(i) * 2 * time.Millisecond)
			_, abortErr = r.ask(t.Context(), r.request(operator.Abort, token))
		})
		both.Go(func() { finishErr = r.step(t.Context(), "finishSecret", token) })
		both.Wait()
		want := token
		if abortErr == nil {
			want = before
			aborted++
		}
		if (abortErr == nil) == (finishErr == nil) {
			t.Errorf("abort: %v, finishSecret: %v", abortErr, finishErr)
		}
		if abortErr != nil && !strings.Contains(abortErr.Error(), "by now") {
			t.Errorf("abort: %v", abortErr)
		}
		r.follow()
		r.complete(want)
	}
	t.Logf("aborted %d of 12", aborted)
}

func TestRollbackGoesBackThroughTheGate(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.followPublications()
	first := r.rotate()
	_, old := r.labelled("AWSCURRENT")
	second := r.rotate()
	_, newer := r.labelled("AWSCURRENT")
	probes := r.probes.Load()
	out := r.mustAsk(r.back(second, first))
	if out.Already || out.CurrentVersionID != first {
		t.Errorf("answer is %+v", out)
	}
	r.complete(first)
	if _, pair := r.labelled("AWSCURRENT"); pair.PublicKey() != old.PublicKey() {
		t.Error("another key than before is current")
	}
	if state := r.state(newer.PublicKey()); state != keyset.Retiring {
		t.Errorf("the key that was replaced is %q, want retiring", state)
	}
	if r.probes.Load() == probes {
		t.Error("nobody was probed")
	}
	if report := r.reportOf("rollback"); !report.Passed || !strings.Contains(report.Asked, "user/ann") {
		t.Errorf("report is %+v", report)
	}
	before := r.document()
	if out := r.mustAsk(r.back(second, first)); !out.Already || r.document().VersionID != before.VersionID {
		t.Errorf("the repetition's answer is %+v", out)
	}
	r.complete(r.rotate())
}

func TestRollbackWaitsForWorkersAndCanBeResumedOrAborted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(r *rig) { r.policy.RetireAfter = 50 * time.Millisecond })
	r.followPublications()
	first := r.rotate()
	second := r.rotate()
	r.onCall = nil
	soon := func(req operator.Request) error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := r.ask(ctx, req)
		return err
	}
	if err := soon(r.back(second, first)); err == nil || !strings.Contains(err.Error(), "behind 2") {
		t.Errorf("rollback: %v", err)
	}
	if current, _ := r.labelled("AWSCURRENT"); current != second {
		t.Fatalf("AWSCURRENT is on %s", current)
	}
	r.mustAsk(r.request(operator.Abort, first))
	r.complete(second)
	if err := soon(r.back(second, first)); err == nil {
		t.Error("rollback passed")
	}
	r.follow()
	r.followPublications()
	r.mustAsk(r.request(operator.Resume, first))
	r.complete(first)
}

func TestRollbackIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, func(r *rig) { r.initial = existingSecret(t) })
	r.followPublications()
	initial, _ := r.labelled("AWSCURRENT")
	first := r.rotate()
	second := r.rotate()
	refused := func(name string, req operator.Request, want string) {
		t.Helper()
		if _, err := r.ask(t.Context(), req); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("from a version that is not current", r.back(first, initial), "look again")
	refused("to a version that is not the previous one", r.back(second, initial), "look again")
	third := r.startRotation()
	refused("while a rotation is pending", r.back(second, first), "abort")
	r.mustAsk(r.request(operator.Abort, third))
	r.complete(second)
}

func TestRollbackToASecretWithoutAKeyIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	empty, _ := r.labelled("AWSCURRENT")
	first := r.rotate()
	if _, err := r.ask(t.Context(), r.back(first, empty)); err == nil || !strings.Contains(err.Error(), "no key to go back to") {
		t.Errorf("rollback: %v", err)
	}
	r.complete(first)
}

func TestResumeFinishesARotationThatIsSwitchedOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.followPublications()
	r.rotate()
	token := r.startRotation()
	if _, err := r.secrets.CancelRotateSecret(t.Context(), &secretsmanager.CancelRotateSecretInput{SecretId: &r.arn}); err != nil {
		t.Fatal(err)
	}
	if out := r.mustAsk(r.request(operator.Resume, token)); out.Already || out.CurrentVersionID != token {
		t.Errorf("answer is %+v", out)
	}
	r.complete(token)
	if out := r.mustAsk(r.request(operator.Resume, token)); !out.Already {
		t.Errorf("answer is %+v", out)
	}
	if _, err := r.ask(t.Context(), r.request(operator.Resume, "0123456789abcdef0123456789abcdef")); err == nil {
		t.Error("a rotation that does not exist was resumed")
	}
}

func TestRequestsAreRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	for _, bad := range []string{
		`{"source":"rotatessh.operator"}`,
		`{"source":"rotatessh.operator","version":1,"request":"abort","secretArn":"arn:x","versionId":"v","actor":"a","Step":"finishSecret"}`,
	} {
		if _, err := r.rotator.Handle(t.Context(), []byte(bad)); err == nil || !strings.Contains(err.Error(), "operator request") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if n := len(r.aws.Calls()); n > 5 {
		t.Errorf("%d calls were made", n)
	}
}

func TestRequestsAreAudited(t *testing.T) {
	t.Parallel()
	core, logs := logged.New(zapcore.InfoLevel)
	r, token := inRotation(t, 1, "setSecret", func(r *rig) { r.log = zap.New(core) })
	r.mustAsk(r.request(operator.Abort, token))
	for _, message := range []string{"operator asked", "dropped label", "operator's request is fulfilled"} {
		lines := logs.FilterMessage(message).FilterField(zap.String("actor", "arn:aws:iam::111122223333:user/ann")).All()
		if len(lines) != 1 {
			t.Errorf("%d lines say %q", len(lines), message)
			continue
		}
		fields := lines[0].ContextMap()
		if fields["version_id"] != token || fields["secret_id"] != r.arn {
			t.Errorf("%q has %v", message, fields)
		}
	}
}

// checkRevoked makes sure that a revocation is in force as soon as its version is current.
func (r *rig) checkRevoked(req operator.Request) {
	if current, pair := r.labelled("AWSCURRENT"); req.Request == operator.Revoke && current == req.VersionID {
		for _, f := range pair.Revoked() {
			r.refused(f)
		}
	}
}

func (r *rig) checkWaiver(req operator.Request) {
	waivers, err := r.ledger.Waivers(r.t.Context(), r.arn, time.Now())
	if err != nil || len(waivers) > 1 || (len(waivers) == 1) != (req.Request == operator.Waive) {
		r.t.Errorf("after %s there are waivers %+v, %v", req.Request, waivers, err)
	}
}

func (r *rig) askAgain(req operator.Request) string {
	current := r.mustAsk(req).CurrentVersionID
	if req.Worker != "" {
		r.checkWaiver(req)
		return current
	}
	if (current == req.VersionID) == (req.Request == operator.Abort) {
		r.t.Errorf("%s of version %s left version %s current", req.Request, req.VersionID, current)
	}
	r.checkRevoked(req)
	return current
}

// ways are what can complete a request that was disturbed. Each gives the version that must be current then.
func ways() map[string]func(r *rig, req operator.Request, reached string) string {
	return map[string]func(*rig, operator.Request, string) string{
		"the same request again": func(r *rig, req operator.Request, _ string) string {
			return r.askAgain(req)
		},
		"the schedule, then the same request": func(r *rig, req operator.Request, _ string) string {
			if _, err := r.handle(scheduleEvent()); err != nil {
				r.t.Errorf("schedule: %v", err)
			}
			r.checkRevoked(req)
			return r.askAgain(req)
		},
		"the next rotation": func(r *rig, req operator.Request, before string) string {
			if pending, _ := r.labelled("AWSPENDING"); pending != "" && pending != before {
				for _, s := range steps() { // Secrets Manager tries again what it sees pending
					r.mustStep(s, pending)
				}
			}
			if _, err := r.handle(scheduleEvent()); err != nil {
				r.t.Errorf("schedule: %v", err)
			}
			return r.rotate()
		},
	}
}

func TestRequestDisturbedAtAnyCallIsCompletedLater(t *testing.T) {
	begin := map[operator.Kind]func(r *rig) operator.Request{
		operator.Abort: func(r *rig) operator.Request {
			token := r.startPublished()
			return r.request(operator.Abort, token)
		},
		operator.Resume: func(r *rig) operator.Request { return r.request(operator.Resume, r.startRotation()) },
		operator.Revoke: func(r *rig) operator.Request { return r.revocation(int(r.probes.Load()) + 1) },
		operator.Rollback: func(r *rig) operator.Request { // to and fro
			previous, pair := r.labelled("AWSPREVIOUS")
			current, _ := r.labelled("AWSCURRENT")
			if pair.IsZero() {
				previous, current = current, r.rotate()
			}
			return r.back(current, previous)
		},
		operator.Waive: func(r *rig) operator.Request { return r.waiver(r.workers[0], time.Hour) },
		operator.Unwaive: func(r *rig) operator.Request {
			r.mustAsk(r.waiver(r.workers[0], time.Hour))
			req := operator.New(operator.Unwaive, r.arn, "ann")
			req.Worker = ledger.InstanceID(r.workers[0].arn)
			return req
		},
	}
	limit := make(chan struct{}, 6)
	var rows sync.WaitGroup
	for kind, start := range begin {
		for _, m := range []mishap{killed, lost, failed} {
			for name, way := range ways() {
				waiver := kind == operator.Waive || kind == operator.Unwaive // which no other run knows of
				if (m == failed || waiver) && name != "the same request again" {
					continue // nothing is left half done
				}
				rows.Go(func() {
					limit <- struct{}{}
					defer func() { <-limit }()
					t.Run(string(kind)+"/"+string(m)+"/"+name, func(t *testing.T) { disturbRequest(t, start, m, way) })
				})
			}
		}
	}
	rows.Wait()
}

func disturbRequest(t *testing.T, start func(*rig) operator.Request, m mishap, way func(*rig, operator.Request, string) string) {
	var r *rig
	turn := 0
	for n := 1; ; n++ {
		// Most of a request's calls are those of the steps, of which another test lets each one fail.
		if m == failed && slowly && n > 16 && n%3 != 0 {
			continue
		}
		turn++
		r = r.forTurn(t, turn)
		req := start(r)
		before, _ := r.labelled("AWSCURRENT")
		calls, err := r.disturbed(n, m, func(ctx context.Context) error { _, err := r.ask(ctx, req); return err })
		if calls < n {
			if err != nil {
				t.Errorf("undisturbed: %v", err)
			}
			t.Logf("%d calls, %d looks", n-1, r.watch.looks)
			return
		}
		r.follow()
		r.complete(way(r, req, before))
		if t.Failed() {
			t.Fatalf("call %d %s; the request said: %v", n, m, err)
		}
	}
}

func TestALeaseThatSomebodyElseHoldsIsRespected(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 1, "setSecret")
	r.follow()
	lease := ledger.Lease{SecretARN: r.arn, Owner: "another", Purpose: "revoking"}
	if err := r.ledger.AcquireLease(t.Context(), lease, time.Now(), time.Hour); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := r.ask(ctx, r.request(operator.Abort, token)); !errors.Is(err, ledger.ErrLeaseHeld) || !strings.Contains(err.Error(), "revoking") {
		t.Errorf("abort: %v", err)
	}
	if version, _ := r.labelled("AWSPENDING"); version != token {
		t.Error("AWSPENDING was dropped without the lease")
	}
}

func TestAbortSeesThroughLabelsThatLag(t *testing.T) {
	t.Parallel()
	var stale atomic.Pointer[map[string][]string]
	r, token := inRotation(t, 1, "setSecret", func(r *rig) {
		r.wrap = func(out *secretsmanager.DescribeSecretOutput) {
			if old := stale.Swap(nil); old != nil {
				out.VersionIdsToStages = *old
			}
		}
	})
	out, err := r.secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &r.arn})
	if err != nil {
		t.Fatal(err)
	}
	r.aws.OnCall(localaws.Fault{Action: "UpdateSecretVersionStage", After: func(localaws.Call) error {
		stale.Store(&out.VersionIdsToStages) // the next answer is as if nothing had happened
		return nil
	}})
	current, _ := r.labelled("AWSCURRENT")
	r.mustAsk(r.request(operator.Abort, token))
	r.complete(current)
}
