package demo

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

func TestItemInDynamoDBsJSONIsReadAsAnAcknowledgement(t *testing.T) {
	const item = `{"pk":{"S":"x"},"worker":{"S":"arn:aws:ec2:us-east-1:111122223333:instance/i-0123456789abcdef0"},
		"generation":{"N":"7"},"outcome":{"S":"applied"},"hostKeys":{"L":[{"S":"ssh-ed25519 AAAA"}]},"code":{"NULL":true},
		"users":{"L":[{"M":{"name":{"S":"ec2-user"},"keys":{"L":[
			{"M":{"fingerprint":{"S":"SHA256:a"},"state":{"S":"current"},"accepted":{"S":"yes"}}},
			{"M":{"fingerprint":{"S":"SHA256:b"},"state":{"S":"retired"},"accepted":{"S":"no"}}}]}}}]}}`
	var in map[string]json.RawMessage
	if err := json.Unmarshal([]byte(item), &in); err != nil {
		t.Fatal(err)
	}
	var got ledger.Ack
	if err := plainItem(in, &got); err != nil {
		t.Fatal(err)
	}
	want := ledger.Ack{
		Worker: "arn:aws:ec2:us-east-1:111122223333:instance/i-0123456789abcdef0", Generation: 7, Outcome: ledger.Applied,
		HostKeys: []string{"ssh-ed25519 AAAA"},
		Users: []ledger.User{{Name: "ec2-user", Keys: []ledger.KeyStatus{
			{Fingerprint: "SHA256:a", State: "current", Accepted: ledger.Yes},
			{Fingerprint: "SHA256:b", State: "retired", Accepted: ledger.No},
		}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := answer(got, stateRetired, "SHA256:b"); got != ledger.No {
		t.Errorf("the answer about the retired key is %q, want no", got)
	}
	if got := answer(got, keyset.Current, "SHA256:b"); got != "" {
		t.Errorf("the answer about a key that is not current is %q, want none", got)
	}
}

func TestItemOfAnUnknownTypeIsAnError(t *testing.T) {
	if err := plainItem(map[string]json.RawMessage{"pk": json.RawMessage(`{"X":1}`)}, new(ledger.Ack)); err == nil {
		t.Error("no error")
	}
}
