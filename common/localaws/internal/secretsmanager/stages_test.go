package secretsmanager

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func move(label, from, to string) object {
	in := object{"SecretId": "s", "VersionStage": label}
	if from != "" {
		in["RemoveFromVersionId"] = token(from)
	}
	if to != "" {
		in["MoveToVersionId"] = token(to)
	}
	return in
}

func TestMovingCurrentForthAndBackSwapsPrevious(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	b.put("v2", "2", "AWSPENDING")
	b.must("UpdateSecretVersionStage", move("AWSCURRENT", "v1", "v2"))
	b.wantLabels(map[string][]string{"v1": {"AWSPREVIOUS"}, "v2": {"AWSPENDING", "AWSCURRENT"}})
	b.must("UpdateSecretVersionStage", move("AWSCURRENT", "v2", "v1"))
	b.wantLabels(map[string][]string{"v1": {"AWSCURRENT"}, "v2": {"AWSPENDING", "AWSPREVIOUS"}})
}

func TestStageMoveIsACompareAndSwap(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	b.put("v2", "2", "X")
	b.put("v3", "3", "Y")
	for code, in := range map[string]object{
		"InvalidParameterException": move("AWSCURRENT", "v2", "v3"), // v2 does not hold it
		"ResourceNotFoundException": move("AWSCURRENT", "v9", "v3"),
	} {
		b.refuse(code, "UpdateSecretVersionStage", in)
	}
	for _, in := range []object{
		move("AWSCURRENT", "", "v3"),    // somebody else holds it
		move("AWSCURRENT", "v1", ""),    // it can only move
		move("NOWHERE", "v1", ""),       // nobody holds it
		move("AWSCURRENT", "", ""),      // neither end
		move("AWSPREVIOUS", "v2", "v1"), // v2 does not hold it
	} {
		b.refuse("InvalidParameterException", "UpdateSecretVersionStage", in)
	}
	b.refuse("ResourceNotFoundException", "UpdateSecretVersionStage", move("AWSCURRENT", "v1", "v9"))
	b.wantLabels(map[string][]string{"v1": {"AWSCURRENT"}, "v2": {"X"}, "v3": {"Y"}})
}

func TestRepeatedStageMoveFails(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	b.put("v2", "2", "X")
	b.must("UpdateSecretVersionStage", move("AWSCURRENT", "v1", "v2"))
	b.refuse("InvalidParameterException", "UpdateSecretVersionStage", move("AWSCURRENT", "v1", "v2"))
	b.must("UpdateSecretVersionStage", move("AWSCURRENT", "", "v2")) // without a comparison it is a no-op
	b.wantLabels(map[string][]string{"v1": {"AWSPREVIOUS"}, "v2": {"X", "AWSCURRENT"}})
}

func TestLabelWithoutHolderIsAttached(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	b.must("UpdateSecretVersionStage", move("NEW", "", "v1"))
	b.wantLabels(map[string][]string{"v1": {"AWSCURRENT", "NEW"}})
}

func TestLabelsAreShownInOrder(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	b.put("v2", "2", "Z", "AWSPENDING", "B")
	b.must("UpdateSecretVersionStage", move("AWSCURRENT", "v1", "v2"))
	out := b.must("GetSecretValue", object{"SecretId": "s"})
	if diff := cmp.Diff([]any{"AWSCURRENT", "AWSPENDING", "B", "Z"}, out["VersionStages"]); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestVersionHoldsTwentyLabels(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	for i := range 19 {
		b.must("UpdateSecretVersionStage", move(fmt.Sprintf("L%d", i), "", "v1"))
	}
	b.refuse("LimitExceededException", "UpdateSecretVersionStage", move("L20", "", "v1"))
}
