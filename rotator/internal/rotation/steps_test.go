package rotation_test

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/localaws"
)

func TestRotationsFromAnEmptySecretOnwards(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	r.followPublications()
	first := r.rotate()
	r.complete(first)
	_, pair := r.labelled("AWSCURRENT")
	second := r.rotate()
	r.complete(second)
	_, next := r.labelled("AWSCURRENT")
	if next.PublicKey() == pair.PublicKey() {
		t.Error("second rotation kept the key")
	}
	doc := r.document()
	if retiring, _ := doc.Keyset.Find(keyset.Retiring); retiring.PublicKey != pair.PublicKey() || retiring.VersionID != first {
		t.Errorf("retiring key is %v, want the first one", retiring.PublicKey)
	}
	if doc.Keyset.Generation != 4 {
		t.Errorf("two rotations made %d generations, want two each", doc.Keyset.Generation)
	}
	if r.probes.Load() != 4 {
		t.Errorf("%d probes in two rotations with a sample of 2", r.probes.Load())
	}
}

func TestEveryStepMayRunTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.followPublications()
	for range 2 {
		token := r.startRotation()
		for _, s := range steps() {
			r.mustStep(s, token)
			before := r.document()
			r.mustStep(s, token)
			if after := r.document(); after.VersionID != before.VersionID {
				t.Errorf("%s published again when repeated: generation %d", s, after.Keyset.Generation)
			}
		}
		r.complete(token)
	}
}

func TestAFinishedRotationsStepsOnlyReconcile(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.followPublications()
	token := r.rotate()
	before := r.document()
	for _, s := range steps() {
		r.mustStep(s, token)
	}
	if after := r.document(); after.VersionID != before.VersionID {
		t.Errorf("steps of a finished rotation published generation %d", after.Keyset.Generation)
	}
	r.complete(token)
}

// permutations gives all orders of a list.
func permutations(list []string) [][]string {
	if len(list) < 2 {
		return [][]string{list}
	}
	var all [][]string
	for i := range list {
		rest := slices.Concat(list[:i], list[i+1:])
		for _, p := range permutations(rest) {
			all = append(all, append([]string{list[i]}, p...))
		}
	}
	return all
}

func TestStepsInAnyOrderLeaveARotationThatCanBeFinished(t *testing.T) {
	var rows sync.WaitGroup
	for _, order := range permutations(steps()) {
		rows.Go(func() {
			t.Run(strings.Join(order, ","), func(t *testing.T) {
				r := newRig(t, 2)
				r.followPublications()
				before := r.rotate()
				token := r.startRotation()
				created := false
				for _, s := range order {
					err := r.step(t.Context(), s, token)
					created = created || s == "createSecret"
					if wrong := !created && (s == "setSecret" || s == "finishSecret"); wrong != (err != nil) {
						t.Errorf("%s: %v", s, err)
					}
				}
				if current, _ := r.labelled("AWSCURRENT"); current != token && current != before {
					t.Errorf("AWSCURRENT is on %s", current)
				}
				r.complete(completions()[0].run(r, token))
			})
		})
	}
	rows.Wait()
}

// TestFirstRotationDisturbedAtAnyCallIsCompletedLater starts from an empty secret each time.
func TestFirstRotationDisturbedAtAnyCallIsCompletedLater(t *testing.T) {
	var rows sync.WaitGroup
	for s := range steps() {
		for _, m := range []mishap{killed, lost, failed} {
			rows.Go(func() {
				t.Run(steps()[s]+"/"+string(m), func(t *testing.T) { disturbFirst(t, s, m) })
			})
		}
	}
	rows.Wait()
}

func disturbFirst(t *testing.T, s int, m mishap) {
	for n := 1; ; n++ {
		r := newRig(t, 1)
		r.followPublications()
		token := r.startRotation()
		for _, before := range steps()[:s] {
			r.mustStep(before, token)
		}
		calls, err := r.during(steps()[s], token, n, m)
		r.complete(completions()[n%2].run(r, token))
		if t.Failed() {
			t.Fatalf("call %d %s; the step said: %v", n, m, err)
		}
		if calls < n {
			t.Logf("%d calls", n-1)
			return
		}
	}
}

func TestAnAbandonedRotationsKeyIsRetiredAndItsStepsFail(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.followPublications()
	r.rotate()
	abandoned := r.startRotation()
	r.mustStep("createSecret", abandoned)
	r.mustStep("setSecret", abandoned)
	_, pair := r.labelled("AWSPENDING")
	r.abandon(abandoned)
	token := r.startRotation()
	for _, s := range steps() {
		if err := r.step(t.Context(), s, abandoned); err == nil || !strings.Contains(err.Error(), abandoned) {
			t.Errorf("%s of the abandoned rotation: %v", s, err)
		}
		r.mustStep(s, token)
		i := slices.IndexFunc(r.document().Keyset.Keys, func(k keyset.Key) bool { return k.PublicKey == pair.PublicKey() })
		if s != "createSecret" && (i < 0 || r.document().Keyset.Keys[i].State != keyset.Retiring) {
			t.Errorf("after %s the abandoned key is not retiring: %+v", s, r.document().Keyset.Keys)
		}
	}
	r.complete(token)
}

func TestSwitchedOffRotationIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	token := r.startRotation()
	if _, err := r.secrets.CancelRotateSecret(t.Context(), &secretsmanager.CancelRotateSecretInput{SecretId: &r.arn}); err != nil {
		t.Fatal(err)
	}
	for _, s := range steps() {
		if err := r.step(t.Context(), s, token); err == nil || !strings.Contains(err.Error(), "switched off") {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestAReplicatedSecretIsNotRotated(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, func(r *rig) {
		r.wrap = func(s *secretsmanager.DescribeSecretOutput) { s.ReplicationStatus = replica() }
	})
	token := r.startRotation()
	for _, s := range steps() {
		if err := r.step(t.Context(), s, token); err == nil || !strings.Contains(err.Error(), "replicated") {
			t.Errorf("%s: %v", s, err)
		}
	}
	if version, pair := r.labelled("AWSPENDING"); version != token || !pair.IsZero() {
		t.Error("a key pair was stored")
	}
}

func TestRotationTokenIsPassedOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	token := r.startRotation()
	r.mustStep("createSecret", token)
	tokens := r.aws.Snapshot().RotationTokens
	for _, c := range r.aws.Calls() {
		if c.Action == "PutSecretValue" && strings.Contains(string(c.Input), token) {
			if !strings.Contains(string(c.Input), tokens[len(tokens)-1]) {
				t.Error("PutSecretValue went without the RotationToken")
			}
			return
		}
	}
	t.Error("nothing was put")
}

func TestTheFirstStoredPairIsTheRotations(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	token := r.startRotation()
	// Another run of the same step comes between this one's look and its put.
	var raced atomic.Bool
	r.aws.OnCall(localaws.Fault{Action: "PutSecretValue", Before: func(localaws.Call) error {
		if raced.CompareAndSwap(false, true) {
			r.mustStep("createSecret", token)
		}
		return nil
	}})
	r.mustStep("createSecret", token)
	_, pair := r.labelled("AWSPENDING")
	r.mustStep("setSecret", token)
	if pending, _ := r.document().Keyset.Find(keyset.Pending); pending.PublicKey != pair.PublicKey() {
		t.Errorf("published %s, stored %s", pending.PublicKey.Fingerprint(), pair.Fingerprint())
	}
}

func TestAPairThatIsNoneStopsTheRotation(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	r.rotate()
	before := r.document()
	token := r.startRotation()
	if _, err := r.secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{
		SecretId: &r.arn, ClientRequestToken: &token, SecretString: aws.String("not json"), VersionStages: []string{"AWSPENDING"},
	}); err != nil {
		t.Fatal(err)
	}
	for _, s := range steps() {
		if err := r.step(t.Context(), s, token); err == nil || !strings.Contains(err.Error(), "not a JSON object") {
			t.Errorf("%s: %v", s, err)
		}
	}
	if after := r.document(); after.VersionID != before.VersionID {
		t.Errorf("generation %d was published", after.Keyset.Generation)
	}
}

func TestReconcilersAndStepsAtTheSameTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(r *rig) { r.policy.RetireAfter = 300 * time.Millisecond })
	r.followPublications()
	for range 5 {
		token := r.startRotation()
		for _, s := range steps() {
			var all sync.WaitGroup
			errs := make([]error, 4)
			for i := range errs {
				all.Go(func() {
					switch i {
					case 0:
						_, errs[i] = r.handle(r.labelEvent())
					case 1:
						_, errs[i] = r.handle(scheduleEvent())
					default:
						errs[i] = r.step(t.Context(), s, token)
					}
				})
			}
			all.Wait()
			for i, err := range errs {
				if err != nil {
					t.Logf("%s, invocation %d: %v", s, i, err)
				}
			}
			r.mustStep(s, token)
			r.follow()
		}
		r.complete(token)
	}
}
