package policy_test

import (
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/common/localaws/internal/policy"
)

const (
	queue = "arn:aws:sqs:us-east-1:111122223333:rotatessh-i-1"
	topic = "arn:aws:sns:us-east-1:111122223333:published"
)

// send is what SNS asks when it delivers from the topic to the queue.
func send() policy.Request {
	return policy.Request{Service: "sns.amazonaws.com", Action: "sqs:SendMessage", Resource: queue, SourceARN: topic, Account: "111122223333"}
}

// statement fills in what a statement leaves out.
func statement(members string) string {
	doc := `{"Effect":"Allow"`
	for name, value := range map[string]string{
		"Principal": `{"Service":"sns.amazonaws.com"}`, "Action": `"sqs:SendMessage"`, "Resource": `"` + queue + `"`,
	} {
		if !strings.Contains(members, name+`"`) {
			doc += `,"` + name + `":` + value
		}
	}
	if members != "" {
		doc += "," + members
	}
	return doc + "}"
}

func policyOf(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func allows(t *testing.T, text string) bool {
	t.Helper()
	p, err := policy.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p.Allows(send())
}

func TestWhatAPolicyAllows(t *testing.T) {
	for _, members := range []string{
		``,
		`"Principal":"*"`,
		`"Principal":{"AWS":"*"}`,
		`"Principal":{"Service":["events.amazonaws.com","sns.amazonaws.com"]}`,
		`"Action":["sqs:*"]`,
		`"Action":"SQS:sendmessage"`,
		`"Resource":"*"`,
		`"Resource":"arn:aws:sqs:*:*:rotatessh-*"`,
		`"Condition":{"ArnEquals":{"aws:SourceArn":"` + topic + `"}}`,
		`"Condition":{"ArnLike":{"AWS:SourceArn":["arn:aws:sns:*:111122223333:pub*"]}}`,
		`"Condition":{"StringEquals":{"aws:SourceArn":"` + topic + `","aws:SourceAccount":"111122223333"}}`,
		`"Condition":{"StringEqualsIfExists":{"aws:SourceVpc":"vpc-1"}}`,
		`"Condition":{"Null":{"aws:SourceArn":"false"}}`,
	} {
		if !allows(t, policyOf(statement(members))) {
			t.Errorf("denied: %s", members)
		}
	}
}

func TestWhatAPolicyDoesNotAllow(t *testing.T) {
	for _, members := range []string{
		`"Principal":{"Service":"events.amazonaws.com"}`,
		`"Principal":{"AWS":"arn:aws:iam::111122223333:root"}`,
		`"Action":"sqs:ReceiveMessage"`,
		`"Resource":"` + queue + `2"`,
		`"Condition":{"ArnEquals":{"aws:SourceArn":"` + topic + `2"}}`,
		`"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:sns:*"}}`,
		`"Condition":{"StringEquals":{"aws:SourceArn":"arn:aws:sns:*:*:published"}}`,
		`"Condition":{"ArnNotEquals":{"aws:SourceArn":"` + topic + `"}}`,
		`"Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}`,
		`"Condition":{"StringEquals":{"aws:SourceArn":"` + topic + `"},"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}`,
	} {
		if allows(t, policyOf(statement(members))) {
			t.Errorf("allowed: %s", members)
		}
	}
	if allows(t, "") {
		t.Error("no policy allows")
	}
}

func TestADenyWinsEvenWhenItIsNotUnderstood(t *testing.T) {
	allow := statement("")
	deny := strings.Replace(allow, "Allow", "Deny", 1)
	if allows(t, policyOf(allow, deny)) || allows(t, policyOf(deny, allow)) {
		t.Error("a denying statement does not win")
	}
	other := strings.Replace(statement(`"Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), "Allow", "Deny", 1)
	if allows(t, policyOf(allow, other)) {
		t.Error("a denying statement that is not understood does not win")
	}
	elsewhere := strings.Replace(statement(`"Resource":"`+queue+`2"`), "Allow", "Deny", 1)
	insecure := strings.Replace(statement(`"Condition":{"Bool":{"aws:SecureTransport":"false"}}`), "Allow", "Deny", 1)
	if !allows(t, policyOf(insecure, allow)) {
		t.Error("a statement that denies unencrypted requests denies one of a service")
	}
	if !allows(t, policyOf(elsewhere, allow)) {
		t.Error("a denying statement about another queue wins")
	}
}

func TestDocumentsThatAreNoPolicy(t *testing.T) {
	for _, text := range []string{
		`{`, `[]`, `{"Statement":[]}`, policyOf(`{"Effect":"Maybe","Principal":"*","Action":"*","Resource":"*"}`),
		policyOf(`{"Effect":"Allow","Action":"*","Resource":"*"}`), policyOf(`{"Effect":"Allow","Principal":"someone","Action":"*","Resource":"*"}`),
		policyOf(`{"Effect":"Allow","Principal":"*","Resource":"*"}`),
	} {
		if _, err := policy.Parse(text); err == nil {
			t.Errorf("taken for a policy: %s", text)
		}
	}
}
