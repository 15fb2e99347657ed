package secretsmanager

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPutMovesCurrentAndPreviousFollows(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	b.put("v2", "2")
	b.wantLabels(map[string][]string{"v1": {"AWSPREVIOUS"}, "v2": {"AWSCURRENT"}})
	b.put("v3", "3")
	b.wantLabels(map[string][]string{"v2": {"AWSPREVIOUS"}, "v3": {"AWSCURRENT"}})
}

func TestPutOfSameTokenAndBytesChangesNothing(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	b.put("v2", "2", "CUSTOM")
	b.put("v1", "1", "CUSTOM", "AWSCURRENT")
	b.wantLabels(map[string][]string{"v1": {"AWSCURRENT"}, "v2": {"CUSTOM"}})
}

func TestPutOfSameTokenAndOtherBytesIsRefused(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	msg := b.refuse("ResourceExistsException", "PutSecretValue", object{"SecretId": "s", "SecretString": "other", "ClientRequestToken": token("v1")})
	if strings.Contains(msg, "other") {
		t.Errorf("message shows the value: %s", msg)
	}
	b.refuse("ResourceExistsException", "PutSecretValue", object{"SecretId": "s", "SecretBinary": []byte("1"), "ClientRequestToken": token("v1")})
}

func TestLabelSitsOnOneVersion(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	b.put("v2", "2", "CUSTOM")
	b.put("v3", "3", "CUSTOM")
	b.wantLabels(map[string][]string{"v1": {"AWSCURRENT"}, "v3": {"CUSTOM"}})
}

func TestValueLimits(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	in := func(n int) object { return object{"SecretId": "s", "SecretString": strings.Repeat("x", n)} }
	b.must("PutSecretValue", in(65536))
	msg := b.refuse("ValidationException", "PutSecretValue", in(65537))
	if strings.Contains(msg, "xxx") {
		t.Error("message shows the value")
	}
	b.refuse("ValidationException", "PutSecretValue", in(0))
	b.refuse("InvalidRequestException", "PutSecretValue", object{"SecretId": "s"})
	b.refuse("InvalidRequestException", "PutSecretValue", object{"SecretId": "s", "SecretString": "a", "SecretBinary": []byte("a")})
	b.refuse("InvalidParameterException", "PutSecretValue", object{"SecretId": "s", "SecretString": "a", "ClientRequestToken": "short"})
	b.refuse("InvalidRequestException", "PutSecretValue", object{"SecretId": "s", "SecretString": "a", "RotationToken": token("made up")})
	b.refuse("SerializationException", "PutSecretValue", object{"SecretId": "s", "SecretString": "a", "Unheard": 1})
}

func TestGetFindsByLabelByVersionAndByBoth(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	b.put("v2", "2")
	b.put("v3", "3", "CUSTOM")
	for _, c := range []struct {
		in   object
		want string
	}{
		{object{}, "2"},
		{object{"VersionStage": "AWSPREVIOUS"}, "1"},
		{object{"VersionStage": "CUSTOM"}, "3"},
		{object{"VersionId": token("v1")}, "1"},
		{object{"VersionId": token("v3"), "VersionStage": "CUSTOM"}, "3"},
	} {
		c.in["SecretId"] = "s"
		if got := b.must("GetSecretValue", c.in)["SecretString"]; got != c.want {
			t.Errorf("GetSecretValue(%v) = %v, want %s", c.in, got, c.want)
		}
	}
	b.refuse("InvalidRequestException", "GetSecretValue", object{"SecretId": "s", "VersionId": token("v3"), "VersionStage": "AWSCURRENT"})
	b.refuse("ResourceNotFoundException", "GetSecretValue", object{"SecretId": "s", "VersionId": token("v9")})
	b.refuse("ResourceNotFoundException", "GetSecretValue", object{"SecretId": "nobody"})
	msg := b.refuse("ResourceNotFoundException", "GetSecretValue", object{"SecretId": "s", "VersionStage": "AWSPENDING"})
	if want := "Secrets Manager can't find the specified secret value for staging label: AWSPENDING"; msg != want {
		t.Errorf("message %q, want %q", msg, want)
	}
}

func TestBatchGetReportsWhatIsMissing(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	out := b.must("BatchGetSecretValue", object{"SecretIdList": []string{"s", "nobody"}})
	values, failures := out["SecretValues"].([]any), out["Errors"].([]any)
	if len(values) != 1 || len(failures) != 1 || failures[0].(object)["ErrorCode"] != "ResourceNotFoundException" {
		t.Errorf("got %v", out)
	}
}

func TestBinaryValuesComeBack(t *testing.T) {
	b := newBench(t, nil, nil)
	b.must("CreateSecret", object{"Name": "s", "SecretBinary": []byte{0, 1, 255}})
	if got := b.must("GetSecretValue", object{"SecretId": "s"})["SecretBinary"]; got != "AAH/" {
		t.Errorf("SecretBinary = %v", got)
	}
}

func TestSecretIsFoundByNameAndBothFormsOfARN(t *testing.T) {
	b := newBench(t, nil, nil)
	arn := b.must("CreateSecret", object{"Name": "/dev/ssh", "SecretString": "a"})["ARN"].(string)
	b.must("CreateSecret", object{"Name": "/dev/ssh/public", "SecretString": "b"})
	for _, id := range []string{"/dev/ssh", arn, arn[:len(arn)-7]} {
		if got := b.must("GetSecretValue", object{"SecretId": id})["SecretString"]; got != "a" {
			t.Errorf("%s leads to %v", id, got)
		}
	}
	b.refuse("ResourceNotFoundException", "GetSecretValue", object{"SecretId": arn[:len(arn)-1] + "_"})
	b.refuse("ResourceNotFoundException", "GetSecretValue", object{"SecretId": strings.Replace(arn, "us-east-1", "eu-west-1", 1)})
}

func TestVersionsGiveWayOnlyWhenOldAndWithoutLabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		b.secret()
		b.must("UpdateSecretVersionStage", move("KEPT", "", "v1"))
		b.put("v2", "2")
		b.put("v3", "3")
		for len(b.secrets["s"].versions) < maxVersions {
			b.must("PutSecretValue", object{"SecretId": "s", "SecretString": "x"})
		}
		b.refuse("LimitExceededException", "PutSecretValue", object{"SecretId": "s", "SecretString": "y"})
		time.Sleep(25 * time.Hour)
		b.put("late", "z")
		out := b.must("ListSecretVersionIds", object{"SecretId": "s", "IncludeDeprecated": true, "MaxResults": 100})
		if n := len(out["Versions"].([]any)); n != maxVersions {
			t.Errorf("%d versions, want %d", n, maxVersions)
		}
		b.refuse("ResourceNotFoundException", "GetSecretValue", object{"SecretId": "s", "VersionId": token("v2")})
		b.must("GetSecretValue", object{"SecretId": "s", "VersionId": token("v1")})
		if !slices.Contains(b.Values(), "2") {
			t.Error("the value of a removed version is forgotten")
		}
		b.Close()
	})
}

func TestLabelEventsNameEveryLabelButPendingAndPrevious(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	b.put("v2", "2", "AWSPENDING", "CUSTOM")
	b.must("UpdateSecretVersionStage", object{"SecretId": "s", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": token("v1"), "MoveToVersionId": token("v2")})
	b.must("UpdateSecretVersionStage", object{"SecretId": "s", "VersionStage": "AWSPENDING", "RemoveFromVersionId": token("v2")})
	b.must("UpdateSecretVersionStage", object{"SecretId": "s", "VersionStage": "CUSTOM", "RemoveFromVersionId": token("v2")})
	b.must("UpdateSecret", object{"SecretId": "s", "Description": "no label moves"})
	if diff := cmp.Diff([]string{"AWSCURRENT v1", "CUSTOM v2", "AWSCURRENT v2"}, b.labelEvents()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
