package secretsmanager

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// finish does what a rotation function does in all four steps.
func finish(b *bench, e stepEvent) error {
	switch e.Step {
	case "createSecret":
		_, err := b.do("PutSecretValue", object{"SecretId": e.SecretID, "SecretString": "new " + e.ClientRequestToken,
			"ClientRequestToken": e.ClientRequestToken, "VersionStages": []string{"AWSPENDING"}, "RotationToken": e.RotationToken})
		return err
	case "finishSecret":
		old := "v1"
		for id, labels := range b.labels() {
			if labels[0] == "AWSCURRENT" {
				old = id
			}
		}
		if _, err := b.do("UpdateSecretVersionStage", move("AWSCURRENT", old, short(e.ClientRequestToken))); err != nil {
			return err
		}
		_, err := b.do("UpdateSecretVersionStage", move("AWSPENDING", short(e.ClientRequestToken), ""))
		return err
	}
	return nil
}

func rotateInput(name string) object {
	return object{"SecretId": "s", "RotationLambdaARN": lambdaARN, "ClientRequestToken": token(name)}
}

func (b *bench) described(field string) any {
	b.t.Helper()
	return b.must("DescribeSecret", object{"SecretId": "s"})[field]
}

func TestRotationRunsTheFourStepsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, finish, nil)
		b.secret()
		if b.described("RotationEnabled") != nil || b.described("LastRotatedDate") != nil {
			t.Error("rotation shows before it was configured")
		}
		b.must("RotateSecret", rotateInput("v2"))
		synctest.Wait()
		if diff := cmp.Diff(steps(), b.stepNames()); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
		b.wantLabels(map[string][]string{"v1": {"AWSPREVIOUS"}, "v2": {"AWSCURRENT"}})
		if b.described("RotationEnabled") != true || b.described("LastRotatedDate") == nil {
			t.Error("rotation does not show")
		}
		if diff := cmp.Diff([]string{"RotationStarted", "RotationSucceeded"}, b.serviceEvents()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		b.Close()
	})
}

func TestPendingVersionIsEmptyBeforeCreateSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, e stepEvent) error {
			if e.Step == "createSecret" {
				b.wantLabels(map[string][]string{"v1": {"AWSCURRENT"}, "v2": {"AWSPENDING"}})
				msg := b.refuse("ResourceNotFoundException", "GetSecretValue", object{"SecretId": "s", "VersionId": token("v2"), "VersionStage": "AWSPENDING"})
				if want := "Secrets Manager can't find the specified secret value for staging label: AWSPENDING"; msg != want {
					b.t.Errorf("message %q, want %q", msg, want)
				}
				b.refuse("InvalidRequestException", "UpdateSecretVersionStage", move("AWSCURRENT", "v1", "v2"))
			}
			return finish(b, e)
		}, nil)
		b.secret()
		b.must("RotateSecret", rotateInput("v2"))
		synctest.Wait()
		b.wantLabels(map[string][]string{"v1": {"AWSPREVIOUS"}, "v2": {"AWSCURRENT"}})
		b.Close()
	})
}

func TestFailedRotationStartsAgainUnderTheSameToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 2
		b := newBench(t, func(b *bench, e stepEvent) error {
			if e.Step == "testSecret" && failures > 0 {
				failures--
				return errors.New("fleet is not ready")
			}
			return finish(b, e)
		}, nil)
		b.secret()
		b.must("RotateSecret", rotateInput("v2"))
		synctest.Wait()
		msg := b.refuse("InvalidRequestException", "RotateSecret", rotateInput("v3"))
		if want := "A previous rotation isn't complete. That rotation will be reattempted."; msg != want {
			t.Errorf("message %q, want %q", msg, want)
		}
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		want := []string{"createSecret", "setSecret", "testSecret", "createSecret", "setSecret", "testSecret", "createSecret", "setSecret", "testSecret", "finishSecret"}
		if diff := cmp.Diff(want, b.stepNames()); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
		seen := map[string]bool{}
		for _, e := range b.allSteps() {
			if e.ClientRequestToken != token("v2") || seen[e.RotationToken] {
				t.Errorf("step %s has token %s and rotation token used before: %t", e.Step, e.ClientRequestToken, seen[e.RotationToken])
			}
			seen[e.RotationToken] = true
		}
		if n := len(b.RotationTokens()); n != len(want) {
			t.Errorf("%d rotation tokens on record, want %d", n, len(want))
		}
		b.wantLabels(map[string][]string{"v1": {"AWSPREVIOUS"}, "v2": {"AWSCURRENT"}})
		b.Close()
	})
}

func TestFinishThatFailsAfterTheFlipIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finishes := 0 // steps run one after another
		b := newBench(t, func(b *bench, e stepEvent) error {
			switch {
			case e.Step == "finishSecret" && finishes == 0:
				finishes++
				return errors.Join(finish(b, e), errors.New("died after the flip"))
			case e.Step == "finishSecret":
				finishes++
			case finishes == 0:
				return finish(b, e)
			}
			return nil
		}, nil)
		b.secret()
		b.must("RotateSecret", rotateInput("v2"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if finishes != 2 {
			t.Errorf("finishSecret ran %d times, want 2", finishes)
		}
		b.Close()
	})
}

func TestRotationThatLeavesPendingBehindCountsAsFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		b.secret()
		b.must("RotateSecret", rotateInput("v2"))
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if n := len(b.stepNames()); n != 8 {
			t.Errorf("%d steps, want two attempts of four", n)
		}
		if b.described("LastRotatedDate") != nil {
			t.Error("counts as rotated")
		}
		b.Close()
	})
}

func TestRepeatedRotateSecretIsTheSameRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, e stepEvent) error { time.Sleep(time.Second); return finish(b, e) }, nil)
		b.secret()
		first := b.must("RotateSecret", rotateInput("v2"))
		if diff := cmp.Diff(first, b.must("RotateSecret", rotateInput("v2"))); diff != "" {
			t.Errorf("answers differ:\n%s", diff)
		}
		time.Sleep(time.Minute)
		if n := len(b.stepNames()); n != 4 {
			t.Errorf("%d steps, want 4", n)
		}
		b.Close()
	})
}

func TestPutOfACurrentVersionAbandonsTheRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, e stepEvent) error { time.Sleep(time.Minute); return finish(b, e) }, nil)
		b.secret()
		b.must("RotateSecret", rotateInput("v2"))
		time.Sleep(90 * time.Second) // in setSecret
		b.put("custom", "x", "CUSTOM")
		if labels := b.labels()["v2"]; len(labels) != 1 {
			t.Errorf("a custom label ended the rotation: v2 has %v", labels)
		}
		b.put("hand", "by hand")
		time.Sleep(time.Hour)
		b.wantLabels(map[string][]string{"v1": {"AWSPREVIOUS"}, "custom": {"CUSTOM"}, "hand": {"AWSCURRENT"}})
		if n := len(b.stepNames()); n != 2 {
			t.Errorf("%d steps, want 2", n)
		}
		if diff := cmp.Diff([]string{"RotationStarted", "RotationAbandoned"}, b.serviceEvents()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		b.must("RotateSecret", rotateInput("v3"))
		b.Close()
	})
}

func TestCancelStopsRetriesAndLeavesPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(*bench, stepEvent) error { return errors.New("always") }, nil)
		b.secret()
		b.refuse("InvalidRequestException", "CancelRotateSecret", object{"SecretId": "s"})
		b.must("RotateSecret", rotateInput("v2"))
		synctest.Wait()
		if out := b.must("CancelRotateSecret", object{"SecretId": "s"}); out["VersionId"] != token("v2") {
			t.Errorf("cancelled version %v", out["VersionId"])
		}
		time.Sleep(time.Hour)
		if n := len(b.stepNames()); n != 1 {
			t.Errorf("%d steps, want 1", n)
		}
		if b.described("RotationEnabled") != false {
			t.Error("rotation is still on")
		}
		b.refuse("InvalidRequestException", "RotateSecret", rotateInput("v3"))
		b.must("UpdateSecretVersionStage", move("AWSPENDING", "v2", ""))
		b.must("RotateSecret", rotateInput("v3"))
		b.Close()
	})
}

func TestTakingPendingAwayEndsAFailedRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(*bench, stepEvent) error { return errors.New("always") }, nil)
		b.secret()
		b.must("RotateSecret", rotateInput("v2"))
		synctest.Wait()
		b.must("UpdateSecretVersionStage", move("AWSPENDING", "v2", ""))
		b.must("RotateSecret", rotateInput("v3"))
		time.Sleep(90 * time.Second)
		for _, e := range b.allSteps()[1:] {
			if e.ClientRequestToken != token("v3") {
				t.Errorf("%s of the aborted rotation ran", short(e.ClientRequestToken))
			}
		}
		b.Close()
	})
}

func TestEndOfAFailedRotationNeedsNoOther(t *testing.T) {
	for name, end := range map[string]func(b *bench){
		"pending taken away": func(b *bench) { b.must("UpdateSecretVersionStage", move("AWSPENDING", "v2", "")) },
		"secret deleted":     func(b *bench) { b.must("DeleteSecret", object{"SecretId": "s"}) },
		"secret removed": func(b *bench) {
			b.must("DeleteSecret", object{"SecretId": "s", "ForceDeleteWithoutRecovery": true})
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, func(*bench, stepEvent) error { time.Sleep(time.Second); return errors.New("always") }, nil)
			b.secret()
			b.must("RotateSecret", rotateInput("v2"))
			time.Sleep(500 * time.Millisecond) // in createSecret
			end(b)
			time.Sleep(time.Hour)
			if n := len(b.stepNames()); n != 1 {
				t.Errorf("%s: %d steps, want 1", name, n)
			}
			b.Close()
		})
	}
}

func TestRotatorThatPutsCurrentItselfAbandonsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, e stepEvent) error {
			if e.Step == "finishSecret" {
				_, err := b.do("UpdateSecretVersionStage", move("AWSPENDING", "v2", ""))
				return err
			}
			_, err := b.do("PutSecretValue", object{"SecretId": "s", "SecretString": "new", "ClientRequestToken": e.ClientRequestToken})
			return err
		}, nil)
		b.secret()
		b.must("RotateSecret", rotateInput("v2"))
		synctest.Wait()
		if diff := cmp.Diff(steps(), b.stepNames()); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
		b.wantLabels(map[string][]string{"v1": {"AWSPREVIOUS"}, "v2": {"AWSCURRENT"}})
		b.Close()
	})
}

func TestRotateImmediatelyFalseRunsTestSecretAlone(t *testing.T) {
	for _, empty := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, func(b *bench, _ stepEvent) error {
				time.Sleep(time.Second)
				out, err := b.do("GetSecretValue", object{"SecretId": "s", "VersionStage": "AWSPENDING"})
				if (err != nil) != empty || err == nil && out["SecretString"] != "1" {
					b.t.Errorf("empty %t: reading AWSPENDING gave %v, %v", empty, out, err)
				}
				return nil
			}, func(d *Deps) { d.EmptyTestVersion = empty })
			b.secret()
			in := rotateInput("v2")
			in["RotateImmediately"] = false
			b.must("RotateSecret", in)
			b.refuse("InvalidRequestException", "RotateSecret", rotateInput("v3"))
			time.Sleep(time.Minute)
			if diff := cmp.Diff([]string{"testSecret"}, b.stepNames()); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			b.wantLabels(map[string][]string{"v1": {"AWSCURRENT"}})
			b.refuse("ResourceNotFoundException", "GetSecretValue", object{"SecretId": "s", "VersionId": token("v2")})
			if b.described("RotationEnabled") != true || b.described("LastRotatedDate") != nil {
				t.Error("a test is not a rotation")
			}
			b.Close()
		})
	}
}

func TestRotateNeedsAFunction(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	msg := b.refuse("InvalidRequestException", "RotateSecret", object{"SecretId": "s"})
	if want := "No Lambda rotation function ARN is associated with this secret."; msg != want {
		t.Errorf("message %q, want %q", msg, want)
	}
	b.refuse("AccessDeniedException", "RotateSecret", object{"SecretId": "s", "RotationLambdaARN": lambdaARN + "2"})
	if b.described("RotationEnabled") != nil {
		t.Error("a refused call configured rotation")
	}
}

func TestNextRotationFollowsTheRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, finish, nil)
		b.secret()
		in := rotateInput("v2")
		in["RotationRules"] = object{"AutomaticallyAfterDays": 30}
		b.must("RotateSecret", in)
		synctest.Wait()
		if got := b.described("NextRotationDate").(float64) - b.described("LastRotatedDate").(float64); got != 30*24*3600 {
			t.Errorf("next rotation is %v s after the last", got)
		}
		b.Close()
	})
}

func TestHistoryForgetsTheOldest(t *testing.T) {
	h := newHistory()
	for i := range maxHistory + 1 {
		h.add(strconv.Itoa(i))
	}
	if h.has("0") || !h.has(strconv.Itoa(maxHistory)) || len(h.list) > maxHistory || len(h.list) < maxHistory/2 {
		t.Errorf("%d entries, first kept: %t", len(h.list), h.has("0"))
	}
}

func TestHistoryIsBoundedInBytes(t *testing.T) {
	h := newHistory()
	big := strings.Repeat("x", maxHistoryBytes/8)
	for i := range 20 {
		h.add(strconv.Itoa(i) + big)
	}
	if n := len(h.all()); n > 8 || n < 2 || !h.has("19"+big) {
		t.Errorf("%d entries kept", n)
	}
}
