package rotation_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/localaws"
)

// mishap is what befalls one call of a step.
type mishap string

const (
	killed mishap = "killed once it took effect" // the process is gone, and nothing more happens
	lost   mishap = "answer lost"                // it took effect, the step sees an error and goes on
	failed mishap = "failed"                     // it had no effect, the step sees an error and goes on
)

// meets reports whether m makes a difference at c. To be killed after a call that changes nothing is to be
// killed after the one before, and its answer lost is the same as its failure.
func (m mishap) meets(c localaws.Call) bool {
	switch c.Action {
	case "PutSecretValue", "UpdateSecretVersionStage", "PutItem", "DeleteItem", "PutEvents":
		return true
	}
	return m == failed
}

// during runs a step whose nth call suffers the mishap, and gives the number of calls that it could have met. A
// call that Secrets Manager refuses has no effect that could outlive the process.
func (r *rig) during(step, token string, n int, m mishap) (calls int, err error) {
	return r.disturbed(n, m, func(ctx context.Context) error { return r.step(ctx, step, token) })
}

// disturbed is during for anything that the rotator does.
func (r *rig) disturbed(n int, m mishap, act func(context.Context) error) (calls int, err error) {
	ctx, kill := context.WithCancelCause(r.t.Context())
	defer kill(nil)
	dead := false
	var mu sync.Mutex // a call that was given up may still be in hand when the next one comes
	remove := r.aws.OnCall(localaws.Fault{
		Match: func(c localaws.Call) bool { return c.Service != "lambda" && !r.busy.Load() },
		Before: func(c localaws.Call) error {
			mu.Lock()
			defer mu.Unlock()
			if dead {
				return localaws.ErrDrop
			}
			if !m.meets(c) {
				return nil
			}
			calls++
			if calls == n && m == failed {
				return &localaws.APIError{Code: "InternalFailure", Message: "injected", Status: 500}
			}
			return nil
		},
		After: func(c localaws.Call) error {
			mu.Lock()
			defer mu.Unlock()
			if calls != n || m == failed || !m.meets(c) {
				return nil
			}
			if m == killed {
				dead = true
				kill(errors.New("killed"))
			}
			return localaws.ErrDrop
		},
	})
	defer remove()
	err = act(ctx)
	mu.Lock()
	defer mu.Unlock()
	return calls, err
}

// completion is how a rotation that was disturbed comes to its end.
type completion struct {
	name string
	// run completes it and gives the version that must be current then.
	run func(r *rig, token string) string
}

func completions() []completion {
	return []completion{
		{"the same rotation's next attempt", func(r *rig, token string) string {
			for _, s := range steps() {
				r.mustStep(s, token)
			}
			return token
		}},
		{"the label event", func(r *rig, token string) string { return r.reconciled(r.labelEvent(), token) }},
		{"the schedule", func(r *rig, token string) string { return r.reconciled(scheduleEvent(), token) }},
		{"a new rotation", func(r *rig, token string) string {
			if version, _ := r.labelled("AWSCURRENT"); version != token {
				r.abandon(token)
			}
			if version, _ := r.labelled("AWSPENDING"); version == token {
				if _, err := r.handle(scheduleEvent()); err != nil {
					r.t.Errorf("schedule: %v", err)
				}
			}
			return r.rotate()
		}},
	}
}

// reconciled lets an event do the rest of a rotation that has got as far as AWSCURRENT. Before that there
// is no label event, and the schedule must leave the rotation as it is: its next attempt goes on.
func (r *rig) reconciled(event []byte, token string) string {
	if _, err := r.handle(event); err != nil {
		r.t.Errorf("reconciling: %v", err)
	}
	if version, _ := r.labelled("AWSCURRENT"); version != token {
		return completions()[0].run(r, token)
	}
	return token
}

// abandon takes AWSPENDING off a version, as an operator does to get out of a rotation.
func (r *rig) abandon(token string) {
	r.t.Helper()
	_, err := r.secrets.UpdateSecretVersionStage(r.t.Context(), &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &r.arn, VersionStage: aws.String("AWSPENDING"), RemoveFromVersionId: &token,
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// complete reports everything that is not as it must be after a rotation to the given version.
func (r *rig) complete(version string) {
	r.t.Helper()
	current, pair := r.labelled("AWSCURRENT")
	if current != version {
		r.t.Errorf("AWSCURRENT is on %s, want %s", current, version)
	}
	if left, _ := r.labelled("AWSPENDING"); left != "" {
		r.t.Errorf("AWSPENDING is left over on %s", left)
	}
	doc := r.document()
	if have, _ := doc.Keyset.Find(keyset.Current); have.PublicKey != pair.PublicKey() || have.VersionID != version {
		r.t.Errorf("keyset's current key is %s of %s, want %s of %s", have.PublicKey.Fingerprint(), have.VersionID, pair.Fingerprint(), version)
	}
	if have, found := doc.Keyset.Find(keyset.Pending); found {
		r.t.Errorf("keyset still has the pending key %s", have.PublicKey.Fingerprint())
	}
	beacon, found, err := r.ledger.BeaconConsistent(r.t.Context(), r.arn)
	if err != nil || !found || beacon.Generation != doc.Keyset.Generation || beacon.KeysetVersionID != doc.VersionID {
		r.t.Errorf("beacon is generation %d version %s (%v, %v), keyset is %d version %s", beacon.Generation, beacon.KeysetVersionID, found, err, doc.Keyset.Generation, doc.VersionID)
	}
}

// TestStepDisturbedAtAnyCallIsCompletedLater goes through every call of every step. Many rotations of one
// row happen one after another in the same deployment, so that what one leaves behind is the next one's
// start. They are completed in each way in turn; a finishSecret that was killed, in every way each.
func TestStepDisturbedAtAnyCallIsCompletedLater(t *testing.T) {
	var rows sync.WaitGroup
	row := func(s int, m mishap, name string, ways []completion) {
		// Not t.Parallel: the rows wait much more than they compute.
		rows.Go(func() {
			t.Run(steps()[s]+"/"+string(m)+"/"+name, func(t *testing.T) { disturb(t, s, m, ways) })
		})
	}
	all := completions()
	for s := range steps() {
		for i, m := range []mishap{killed, lost} {
			row(s, m, "each way in turn", slices.Concat(all[2*i:], all[:2*i]))
		}
		row(s, failed, all[0].name, all[:1]) // nothing is left half done, so one way is as good as another
	}
	for _, way := range all {
		row(3, killed, way.name, []completion{way})
	}
	rows.Wait()
}

// turns is how many disturbances in a row one deployment sees. Documents grow with each rotation, and with them
// the time that a turn takes.
const turns = 10

// forTurn is r, or a new deployment in use when r has had its turns.
func (r *rig) forTurn(t *testing.T, n int) *rig {
	if n%turns == 1 {
		r = newRig(t, 2, func(r *rig) { r.policy.RetireAfter = 500 * time.Millisecond })
		r.followPublications()
		r.rotate()
	}
	return r
}

func disturb(t *testing.T, s int, m mishap, ways []completion) {
	var r *rig
	for n := 1; ; n++ {
		r = r.forTurn(t, n)
		token := r.startRotation()
		for _, before := range steps()[:s] {
			r.mustStep(before, token)
		}
		calls, err := r.during(steps()[s], token, n, m)
		if calls < n {
			if err != nil {
				t.Errorf("undisturbed: %v", err)
			}
			t.Logf("%d calls, %d looks", n-1, r.watch.looks)
			return
		}
		way := ways[n%len(ways)]
		r.complete(way.run(r, token))
		if t.Failed() {
			t.Fatalf("call %d %s, then %s; the step said: %v", n, m, way.name, err)
		}
	}
}
