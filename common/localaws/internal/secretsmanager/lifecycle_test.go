package secretsmanager

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCreateTwiceIsRefusedUnlessItIsARepetition(t *testing.T) {
	b := newBench(t, nil, nil)
	in := object{"Name": "s", "SecretString": "1", "ClientRequestToken": token("v1")}
	first := b.must("CreateSecret", in)
	if diff := cmp.Diff(first, b.must("CreateSecret", in)); diff != "" {
		t.Errorf("repetition (-first +second):\n%s", diff)
	}
	b.refuse("ResourceExistsException", "CreateSecret", object{"Name": "s", "SecretString": "2"})
	b.refuse("ValidationException", "CreateSecret", object{"Name": "no spaces"})
}

func TestSecretWithoutValueHasNoVersion(t *testing.T) {
	b := newBench(t, nil, nil)
	if out := b.must("CreateSecret", object{"Name": "s"}); out["VersionId"] != nil {
		t.Errorf("got version %v", out["VersionId"])
	}
	b.refuse("ResourceNotFoundException", "GetSecretValue", object{"SecretId": "s"})
	b.put("v1", "1", "AWSPENDING")
	b.wantLabels(map[string][]string{"v1": {"AWSPENDING", "AWSCURRENT"}})
}

func TestDeletedSecretRefusesUntilRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		b.secret()
		b.refuse("InvalidParameterException", "DeleteSecret", object{"SecretId": "s", "RecoveryWindowInDays": 6})
		b.must("DeleteSecret", object{"SecretId": "s", "RecoveryWindowInDays": 7})
		b.refuse("InvalidRequestException", "GetSecretValue", object{"SecretId": "s"})
		b.refuse("InvalidRequestException", "CreateSecret", object{"Name": "s"})
		b.must("RestoreSecret", object{"SecretId": "s"})
		b.must("GetSecretValue", object{"SecretId": "s"})
		b.must("DeleteSecret", object{"SecretId": "s", "RecoveryWindowInDays": 7})
		time.Sleep(8 * 24 * time.Hour)
		b.refuse("ResourceNotFoundException", "DescribeSecret", object{"SecretId": "s"})
		b.secret()
		b.must("DeleteSecret", object{"SecretId": "s", "ForceDeleteWithoutRecovery": true})
		b.refuse("ResourceNotFoundException", "RestoreSecret", object{"SecretId": "s"})
		b.Close()
	})
}

func TestListPagesAndFilters(t *testing.T) {
	b := newBench(t, nil, nil)
	for _, n := range []string{"a/1", "a/2", "a/3", "b/1"} {
		b.must("CreateSecret", object{"Name": n, "SecretString": "x", "Tags": []object{{"Key": "k", "Value": n}}})
	}
	b.must("TagResource", object{"SecretId": "b/1", "Tags": []object{{"Key": "extra", "Value": "y"}}})
	b.must("UntagResource", object{"SecretId": "b/1", "TagKeys": []string{"k"}})
	names := func(in object) (out []string) {
		for {
			page := b.must("ListSecrets", in)
			for _, e := range page["SecretList"].([]any) {
				out = append(out, e.(object)["Name"].(string))
			}
			if in["NextToken"] = page["NextToken"]; in["NextToken"] == nil {
				return out
			}
		}
	}
	filter := func(key string, values ...string) object {
		return object{"MaxResults": 2, "Filters": []object{{"Key": key, "Values": values}}}
	}
	for _, c := range []struct {
		in   object
		want []string
	}{
		{object{"MaxResults": 2}, []string{"a/1", "a/2", "a/3", "b/1"}},
		{filter("name", "a/"), []string{"a/1", "a/2", "a/3"}},
		{filter("name", "a/2", "b"), []string{"a/2", "b/1"}},
		{filter("tag-key", "k"), []string{"a/1", "a/2", "a/3"}},
		{filter("tag-value", "y"), []string{"b/1"}},
	} {
		if diff := cmp.Diff(c.want, names(c.in)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.in, diff)
		}
	}
}

func TestReplicasAreListed(t *testing.T) {
	b := newBench(t, nil, nil)
	b.secret()
	b.must("ReplicateSecretToRegions", object{"SecretId": "s", "AddReplicaRegions": []object{{"Region": "eu-west-1"}}})
	status := b.must("DescribeSecret", object{"SecretId": "s"})["ReplicationStatus"].([]any)
	if len(status) != 1 || status[0].(object)["Region"] != "eu-west-1" || status[0].(object)["Status"] == "InSync" {
		t.Errorf("ReplicationStatus = %v", status)
	}
}

func TestUnknownOperationIsAnError(t *testing.T) {
	b := newBench(t, nil, nil)
	b.refuse("UnknownOperationException", "PutResourcePolicy", object{})
}
