package rotation_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/localaws"
)

func notFound(localaws.Call) error {
	return &localaws.APIError{Code: "ResourceNotFoundException", Message: "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT"}
}

func TestACurrentKeyThatCannotBeFoundIsNotTakenForAnEmptySecret(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	r.rotate()
	before := r.document()
	token := r.startRotation()
	remove := r.aws.OnCall(localaws.Fault{Action: "GetSecretValue", Match: func(c localaws.Call) bool {
		return !r.busy.Load() && strings.Contains(string(c.Input), r.arn) && strings.Contains(string(c.Input), "AWSCURRENT")
	}, Before: notFound})
	for _, s := range steps() {
		if err := r.step(t.Context(), s, token); err == nil {
			t.Errorf("%s passed", s)
		}
	}
	remove()
	if version, pair := r.labelled("AWSPENDING"); version != token || !pair.IsZero() {
		t.Error("a key was made although the one in use could not be read")
	}
	if after := r.document(); after.VersionID != before.VersionID {
		t.Errorf("generation %d was published", after.Keyset.Generation)
	}
	r.complete(completions()[0].run(r, token))
}

// TestStepsSeeThroughReadsThatLag answers the first reads of each step as they would have been before the step
// that came last.
func TestStepsSeeThroughReadsThatLag(t *testing.T) {
	t.Parallel()
	var stale atomic.Pointer[map[string][]string]
	r := newRig(t, 1, func(r *rig) {
		r.wrap = func(out *secretsmanager.DescribeSecretOutput) {
			if old := stale.Swap(nil); old != nil {
				out.VersionIdsToStages = *old
			}
		}
	})
	r.followPublications()
	for range 2 {
		labels := func() *map[string][]string {
			out, err := r.secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &r.arn})
			if err != nil {
				t.Fatal(err)
			}
			return &out.VersionIdsToStages
		}
		last := labels()
		token := r.startRotation()
		for _, s := range steps() {
			now := labels()
			stale.Store(last)
			var missed atomic.Bool
			remove := r.aws.OnCall(localaws.Fault{Action: "GetSecretValue", Match: func(c localaws.Call) bool {
				return !r.busy.Load() && strings.Contains(string(c.Input), "AWSPENDING") && missed.CompareAndSwap(false, true)
			}, Before: notFound})
			r.mustStep(s, token)
			remove()
			if !missed.Load() {
				t.Errorf("%s did not read the pending version", s)
			}
			last = now
		}
		r.complete(token)
	}
}

// TestARotationWritesAsFewVersionsAsItNeeds counts what is put: Secrets Manager keeps a hundred versions of a secret
// for a day at least, and refuses more.
func TestARotationWritesAsFewVersionsAsItNeeds(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	r.followPublications()
	r.rotate()
	puts := func() (pairs, keysets int) {
		for _, c := range r.aws.Calls() {
			switch {
			case c.Action != "PutSecretValue":
			case strings.Contains(string(c.Input), keysetName):
				keysets++
			default:
				pairs++
			}
		}
		return pairs, keysets
	}
	pairsBefore, keysetsBefore := puts()
	token := r.rotate()
	for _, s := range steps() {
		r.mustStep(s, token)
	}
	for range 3 { // nothing to do
		if _, err := r.handle(scheduleEvent()); err != nil {
			t.Error(err)
		}
		r.follow()
	}
	if pairs, keysets := puts(); pairs-pairsBefore != 1 || keysets-keysetsBefore != 2 {
		t.Errorf("a rotation put %d key pairs and %d keysets", pairs-pairsBefore, keysets-keysetsBefore)
	}
}

func TestOnlyTheVersionBeforeCanBeGoneBackTo(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	first := r.rotate()
	r.rotate()
	third := r.rotate()
	if _, err := r.ask(t.Context(), r.back(third, first)); err == nil || !strings.Contains(err.Error(), "look again") {
		t.Errorf("two steps back: %v", err)
	}
	r.complete(third)
}

func TestTheGateAsksEverMoreSeldom(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 2, "setSecret")
	count := func() (reads, listings int) {
		for _, c := range r.aws.Calls() {
			switch c.Action {
			case "BatchGetItem":
				reads++
			case "DescribeInstances":
				listings++
			}
		}
		return reads, listings
	}
	reads, listings := count()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	if err := r.step(ctx, "testSecret", token); err == nil {
		t.Error("testSecret passed")
	}
	readsNow, listingsNow := count()
	if n := readsNow - reads; n < 2 || n > 9 { // 9 rounds take 18 seconds
		t.Errorf("%d reads in less than 6 seconds", n)
	}
	if n := listingsNow - listings; n > 2 {
		t.Errorf("the fleet was listed %d times", n)
	}
}

func TestAFailedRotationsPendingKeyIsRotatedToAndNotReplaced(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 1, "setSecret")
	_, pair := r.labelled("AWSPENDING")
	if err := r.soon("testSecret", token); err == nil {
		t.Fatal("testSecret passed before anybody followed")
	}
	r.follow()
	r.followPublications()
	r.complete(completions()[0].run(r, token))
	if current, _ := r.document().Keyset.Find(keyset.Current); current.PublicKey != pair.PublicKey() {
		t.Error("the retry made another key")
	}
}
