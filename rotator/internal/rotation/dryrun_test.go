package rotation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/localaws"
)

// switchOn enables rotation without rotating, and gives the token of the temporary version. Secrets Manager's
// own call of testSecret is held until the test has made its.
func (r *rig) switchOn() (token string, end func()) {
	r.t.Helper()
	release := make(chan struct{})
	remove := r.aws.OnCall(localaws.Fault{Service: "lambda", Before: func(localaws.Call) error { <-release; return nil }})
	out, err := r.secrets.RotateSecret(r.t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: &r.arn, RotationLambdaARN: aws.String("arn:aws:lambda:us-east-1:111122223333:function:RotateSSH"), RotateImmediately: aws.Bool(false),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	token = aws.ToString(out.VersionId)
	return token, func() {
		close(release)
		remove()
		for {
			if _, left := r.versions()[token]; !left {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
}

func TestSwitchingRotationOnChecksAndChangesNothing(t *testing.T) {
	for _, empty := range []bool{false, true} {
		for _, c := range []struct {
			name    string
			workers int
			rotated bool
			want    string // in the error
			prepare func(*rig)
		}{
			{name: "nothing there yet"},
			{name: "workers, but no key yet", workers: 2},
			{name: "all ready", workers: 2, rotated: true},
			{name: "fleet is gone", workers: 0, rotated: true},
			{name: "a silent worker", workers: 1, rotated: true, want: "silent 1", prepare: func(r *rig) { r.addWorker() }},
			{name: "no keyset secret", want: "keyset secret", prepare: func(r *rig) {
				_, err := r.secrets.DeleteSecret(r.t.Context(), &secretsmanager.DeleteSecretInput{SecretId: aws.String(keysetName), ForceDeleteWithoutRecovery: aws.Bool(true)})
				if err != nil {
					r.t.Fatal(err)
				}
			}},
		} {
			name := c.name + ", temporary version is a copy"
			if empty {
				name = c.name + ", temporary version is empty"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, c.workers, func(r *rig) { r.emptyTestVersion = empty })
				if c.rotated {
					r.followPublications()
					r.rotate()
				}
				if c.prepare != nil {
					c.prepare(r)
				}
				generation := int64(0)
				if c.want == "" {
					generation = r.document().Keyset.Generation
				}
				token, end := r.switchOn()
				err := r.step(t.Context(), "testSecret", token)
				switch {
				case c.want == "" && err != nil:
					t.Errorf("testSecret: %v", err)
				case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
					t.Errorf("testSecret: %v, want %q", err, c.want)
				}
				if c.want == "" && r.document().Keyset.Generation != generation {
					t.Errorf("generation went from %d to %d", generation, r.document().Keyset.Generation)
				}
				// What passed as a check must not be able to promote anything.
				if err := r.step(t.Context(), "finishSecret", token); err == nil {
					t.Error("finishSecret passed on a temporary version")
				}
				end()
				if c.want == "" && c.workers > 0 {
					r.followPublications()
					r.complete(r.rotate())
				}
			})
		}
	}
}

func TestSwitchingRotationOnPublishesAnExistingKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, func(r *rig) { r.initial = existingSecret(r.t) })
	token, end := r.switchOn()
	if err := r.step(t.Context(), "testSecret", token); err != nil {
		t.Errorf("testSecret: %v", err)
	}
	end()
	version, pair := r.labelled("AWSCURRENT")
	doc := r.document()
	if current, _ := doc.Keyset.Find(keyset.Current); current.PublicKey != pair.PublicKey() || current.VersionID != version || len(doc.Keyset.Keys) != 1 {
		t.Errorf("keyset is %+v", doc.Keyset.Keys)
	}
	r.follow()
	token, end = r.switchOn()
	if err := r.step(t.Context(), "testSecret", token); err != nil {
		t.Errorf("testSecret again: %v", err)
	}
	end()
}

func TestAPendingKeyThatCannotBeSeenYetIsNoDryRun(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 1, "setSecret")
	misses := 0
	r.aws.OnCall(localaws.Fault{Action: "GetSecretValue", Match: func(c localaws.Call) bool { return strings.Contains(string(c.Input), "AWSPENDING") },
		Before: func(localaws.Call) error {
			if misses++; misses <= 2 {
				return &localaws.APIError{Code: "ResourceNotFoundException", Message: "Secrets Manager can't find the specified secret value for staging label: AWSPENDING"}
			}
			return nil
		}})
	if err := r.soon("testSecret", token); err == nil || !strings.Contains(err.Error(), "behind 1") {
		t.Errorf("testSecret: %v", err)
	}
	if misses < 3 {
		t.Errorf("the pending version was read %d times", misses)
	}
}

func TestAPendingKeyThatCannotBeSeenAtAllIsNoDryRun(t *testing.T) {
	t.Parallel()
	r, token := inRotation(t, 1, "setSecret")
	before := r.document()
	remove := r.aws.OnCall(localaws.Fault{Action: "GetSecretValue", Match: func(c localaws.Call) bool { return strings.Contains(string(c.Input), "AWSPENDING") },
		Before: func(localaws.Call) error {
			return &localaws.APIError{Code: "ResourceNotFoundException", Message: "Secrets Manager can't find the specified secret value for staging label: AWSPENDING"}
		}})
	if err := r.step(t.Context(), "testSecret", token); err == nil {
		t.Error("testSecret passed")
	}
	if after := r.document(); after.VersionID != before.VersionID {
		t.Errorf("generation %d was published", after.Keyset.Generation)
	}
	remove()
	r.follow()
	r.followPublications()
	r.complete(completions()[0].run(r, token))
}
