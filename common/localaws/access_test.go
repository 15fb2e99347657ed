package localaws

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// access asks the rules about calls of one worker.
type access struct {
	*Server
	t      *testing.T
	worker string
}

type object = map[string]any

func newAccess(t *testing.T) *access {
	t.Helper()
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	a := &access{Server: s, t: t, worker: "arn:aws:ec2:us-east-1:111122223333:instance/i-0aaa"}
	a.operator("secretsmanager", "CreateSecret", object{"Name": "/dev/ssh", "SecretString": "private"})
	a.operator("secretsmanager", "CreateSecret", object{"Name": "/dev/ssh/public", "SecretString": "public"})
	for _, name := range []string{"rotatessh-ledger", "other"} {
		a.operator("dynamodb", "CreateTable", object{"TableName": name, "BillingMode": "PAY_PER_REQUEST",
			"AttributeDefinitions": []object{{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}},
			"KeySchema":            []object{{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}}})
	}
	return a
}

func (a *access) request(service, action string, in object) *wire.Request {
	a.t.Helper()
	r := &wire.Request{Service: service, Action: action, Protocol: wire.JSON10, Region: "us-east-1", Account: "111122223333"}
	if service == "sns" || service == "sts" || service == "ec2" {
		r.Protocol, r.Form = wire.Query, url.Values{}
		for k, v := range in {
			r.Form.Set(k, v.(string))
		}
		return r
	}
	body, err := json.Marshal(in)
	if err != nil {
		a.t.Fatal(err)
	}
	r.Body = body
	return r
}

func (a *access) operator(service, action string, in object) []byte {
	a.t.Helper()
	answer := a.run(context.Background(), a.request(service, action, in), "id")
	if answer.Code != "" {
		a.t.Fatalf("%s: %s", action, answer.Body)
	}
	return answer.Body
}

// ask makes a worker's call and tells whether the rules let it through to the service.
func (a *access) ask(service, action string, in object) bool {
	a.t.Helper()
	r := a.request(service, action, in)
	r.Principal = wire.Principal{Worker: a.worker}
	answer := a.run(context.Background(), r, "id")
	return !strings.Contains(string(answer.Body), "is not authorized to perform: "+service+":"+action)
}

func (a *access) allow(service, action string, in object) {
	a.t.Helper()
	if !a.ask(service, action, in) {
		a.t.Errorf("%s:%s %v is denied", service, action, in)
	}
}

func (a *access) deny(service, action string, in object) {
	a.t.Helper()
	if a.ask(service, action, in) {
		a.t.Errorf("%s:%s %v is allowed", service, action, in)
	}
}

func TestWorkerReadsTheKeysetSecretAndNoOther(t *testing.T) {
	a := newAccess(t)
	const arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh"
	public, _ := a.secrets.ARN("/dev/ssh/public")
	private, _ := a.secrets.ARN("/dev/ssh")
	for _, id := range []string{"/dev/ssh/public", public, arn + "/public", arn + "/public-000000"} {
		a.allow("secretsmanager", "GetSecretValue", object{"SecretId": id})
		a.allow("secretsmanager", "DescribeSecret", object{"SecretId": id})
		for _, action := range []string{"PutSecretValue", "UpdateSecretVersionStage", "RotateSecret", "DeleteSecret", "TagResource"} {
			a.deny("secretsmanager", action, object{"SecretId": id})
		}
	}
	for _, id := range []string{"/dev/ssh", private, arn, "nobody", "", "/dev/ssh/public2", arn + "/public-0000000"} {
		a.deny("secretsmanager", "GetSecretValue", object{"SecretId": id})
		a.deny("secretsmanager", "DescribeSecret", object{"SecretId": id})
	}
	a.deny("secretsmanager", "ListSecrets", object{})
	a.deny("secretsmanager", "BatchGetSecretValue", object{"SecretIdList": []string{"/dev/ssh"}})
	a.deny("secretsmanager", "CreateSecret", object{"Name": "mine"})
}

func TestWorkerReadsBeaconsAndWritesItsOwnItems(t *testing.T) {
	a := newAccess(t)
	key := func(pk string) object { return object{"pk": object{"S": pk}, "sk": object{"S": "x"}} }
	on := func(table, member string, pk string) object { return object{"TableName": table, member: key(pk)} }
	query := func(pk string) object {
		return object{"TableName": "rotatessh-ledger", "KeyConditionExpression": "pk = :p",
			"ExpressionAttributeValues": object{":p": object{"S": pk}}}
	}
	batch := func(pks ...string) object {
		var keys []object
		for _, pk := range pks {
			keys = append(keys, key(pk))
		}
		return object{"RequestItems": object{"rotatessh-ledger": object{"Keys": keys}}}
	}
	a.allow("dynamodb", "GetItem", on("rotatessh-ledger", "Key", "keyset#arn"))
	a.allow("dynamodb", "Query", query("keyset#arn"))
	a.allow("dynamodb", "BatchGetItem", batch("keyset#a", "keyset#b"))
	a.allow("dynamodb", "PutItem", on("rotatessh-ledger", "Item", a.worker))
	a.allow("dynamodb", "UpdateItem", on("rotatessh-ledger", "Key", a.worker))
	a.allow("dynamodb", "DeleteItem", on("rotatessh-ledger", "Key", a.worker))

	for _, pk := range []string{"report#arn", "lease#arn", "waiver#arn", "keyset", a.worker + "0", ""} {
		a.deny("dynamodb", "GetItem", on("rotatessh-ledger", "Key", pk))
		a.deny("dynamodb", "Query", query(pk))
		a.deny("dynamodb", "BatchGetItem", batch("keyset#a", pk))
		a.deny("dynamodb", "PutItem", on("rotatessh-ledger", "Item", pk))
		a.deny("dynamodb", "UpdateItem", on("rotatessh-ledger", "Key", pk))
		a.deny("dynamodb", "DeleteItem", on("rotatessh-ledger", "Key", pk))
	}
	a.deny("dynamodb", "PutItem", on("rotatessh-ledger", "Item", "keyset#arn"))
	a.deny("dynamodb", "PutItem", on("other", "Item", a.worker))
	a.deny("dynamodb", "GetItem", on("other", "Key", "keyset#arn"))
	a.deny("dynamodb", "GetItem", on("nowhere", "Key", "keyset#arn"))
	a.deny("dynamodb", "Scan", object{"TableName": "rotatessh-ledger"})
	a.deny("dynamodb", "DescribeTable", object{"TableName": "rotatessh-ledger"})
	a.deny("dynamodb", "DeleteTable", object{"TableName": "rotatessh-ledger"})
	a.deny("dynamodb", "BatchWriteItem", object{"RequestItems": object{"rotatessh-ledger": []object{{"PutRequest": object{"Item": key(a.worker)}}}}})
	a.deny("dynamodb", "TransactWriteItems", object{"TransactItems": []object{{"Put": on("rotatessh-ledger", "Item", a.worker)}}})
}

func TestWorkerLearnsThatItsTableIsMissing(t *testing.T) {
	a := newAccess(t)
	a.operator("dynamodb", "DeleteTable", object{"TableName": "rotatessh-ledger"})
	in := object{"TableName": "rotatessh-ledger", "Key": object{"pk": object{"S": "keyset#a"}, "sk": object{"S": "x"}}}
	a.allow("dynamodb", "GetItem", in)
	a.deny("dynamodb", "Scan", in)
}

func TestWorkerDoesNothingElse(t *testing.T) {
	a := newAccess(t)
	a.allow("sts", "GetCallerIdentity", object{})
	a.deny("sts", "AssumeRole", object{})
	a.deny("ec2", "DescribeInstances", object{})
	a.deny("lambda", "Invoke", object{})
	a.deny("events", "PutEvents", object{"Entries": []object{}})
	a.deny("ssm", "SendCommand", object{})
}

func TestWorkerUsesItsOwnQueueOnly(t *testing.T) {
	a := newAccess(t)
	other := "arn:aws:ec2:us-east-1:111122223333:instance/i-0bbb"
	url := func(name string) string { return a.URL() + "/111122223333/" + name }
	create := func(name, owner string) object {
		return object{"QueueName": name, "tags": object{"instance-arn": owner}}
	}
	use := []string{"GetQueueAttributes", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch", "ChangeMessageVisibility"}

	a.deny("sqs", "CreateQueue", object{"QueueName": "rotatessh-i-0aaa"})
	a.deny("sqs", "CreateQueue", create("rotatessh-i-0aaa", other))
	a.deny("sqs", "CreateQueue", create("rotatessh-i-0bbb", a.worker))
	a.deny("sqs", "CreateQueue", create("elsewhere", a.worker))
	a.allow("sqs", "GetQueueUrl", object{"QueueName": "rotatessh-i-0aaa"}) // and learns that it is missing
	a.deny("sqs", "GetQueueUrl", object{"QueueName": "rotatessh-i-0bbb"})
	a.allow("sqs", "CreateQueue", create("rotatessh-i-0aaa", a.worker))
	a.operator("sqs", "CreateQueue", create("rotatessh-i-0bbb", other))
	a.operator("sqs", "CreateQueue", object{"QueueName": "elsewhere"})

	a.allow("sqs", "GetQueueUrl", object{"QueueName": "rotatessh-i-0aaa"})
	for _, action := range use {
		a.allow("sqs", action, object{"QueueUrl": url("rotatessh-i-0aaa")})
		for _, name := range []string{"rotatessh-i-0bbb", "elsewhere", "nowhere"} {
			a.deny("sqs", action, object{"QueueUrl": url(name)})
		}
		a.deny("sqs", action, object{})
	}
	for _, action := range []string{"SendMessage", "SetQueueAttributes", "DeleteQueue", "PurgeQueue", "UntagQueue", "ListQueueTags"} {
		a.deny("sqs", action, object{"QueueUrl": url("rotatessh-i-0aaa")})
	}
	a.deny("sqs", "ListQueues", object{})

	a.deny("sqs", "TagQueue", object{"QueueUrl": url("rotatessh-i-0aaa"), "Tags": object{"instance-arn": other}})
	a.deny("sqs", "TagQueue", object{"QueueUrl": url("rotatessh-i-0aaa"), "Tags": object{"colour": "red"}})
	a.deny("sqs", "TagQueue", object{"QueueUrl": url("elsewhere"), "Tags": object{"instance-arn": a.worker}})
	a.allow("sqs", "TagQueue", object{"QueueUrl": url("rotatessh-i-0aaa"), "Tags": object{"instance-arn": a.worker}})
}

func TestWorkerSubscribesItsOwnQueueToTheTopic(t *testing.T) {
	a := newAccess(t)
	a.operator("sns", "CreateTopic", object{"Name": "rotatessh-keyset-published"})
	const arn = "arn:aws:sns:us-east-1:111122223333:rotatessh-keyset-published"
	subscribe := func(topic, protocol, queue string) object {
		return object{"TopicArn": topic, "Protocol": protocol, "Endpoint": "arn:aws:sqs:us-east-1:111122223333:" + queue}
	}
	a.allow("sns", "Subscribe", subscribe(arn, "sqs", "rotatessh-i-0aaa"))
	a.deny("sns", "Subscribe", subscribe(arn, "sqs", "rotatessh-i-0bbb"))
	a.deny("sns", "Subscribe", subscribe(arn, "https", "rotatessh-i-0aaa"))
	a.deny("sns", "Subscribe", subscribe(arn+"2", "sqs", "rotatessh-i-0aaa"))
	for _, action := range []string{"Publish", "ListSubscriptionsByTopic", "SetTopicAttributes", "DeleteTopic"} {
		a.deny("sns", action, object{"TopicArn": arn})
	}
	a.deny("sns", "Unsubscribe", object{"SubscriptionArn": arn + ":1"})
}
