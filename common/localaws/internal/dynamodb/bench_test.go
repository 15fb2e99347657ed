package dynamodb_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wiretest"
)

const fleet = 100_000

// bench runs operations without HTTP, which costs the same whatever the table holds.
type bench struct {
	*testing.B
	s *dynamodb.Service
}

func newBench(b *testing.B) *bench {
	s := &bench{b, dynamodb.New(dynamodb.Deps{})}
	s.do("CreateTable", `{"TableName":"fleet","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},
		{"AttributeName":"sk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}]}`)
	return s
}

func (b *bench) do(action, body string) []byte {
	b.Helper()
	out, err := b.s.Handle(b.Context(), wiretest.Request("dynamodb", "DynamoDB_20120810."+action, []byte(body)))
	if err != nil {
		b.Fatal(err)
	}
	raw, err := json.Marshal(out)
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

func (b *bench) ack(i, generation int) {
	b.do("PutItem", fmt.Sprintf(`{"TableName":"fleet","Item":{"pk":{"S":"arn:aws:ec2:us-east-1:111122223333:instance/i-%017x"},"sk":{"S":"ack"},
		"generation":{"N":"%d"},"users":{"L":[{"M":{"name":{"S":"ec2-user"},"accepted":{"SS":["SHA256:a","SHA256:b"]}}}]}},
		"ConditionExpression":"attribute_not_exists(pk) OR generation < :g","ExpressionAttributeValues":{":g":{"N":"%d"}}}`, i, generation, generation))
}

func BenchmarkAcknowledgements(b *testing.B) {
	t := newBench(b)
	for i := range fleet {
		t.ack(i, 1)
	}
	generation := 1
	for b.Loop() {
		generation++
		for i := range fleet {
			t.ack(i, generation)
		}
	}
}

func BenchmarkScanAll(b *testing.B) {
	t := newBench(b)
	for i := range fleet {
		t.ack(i, 1)
	}
	for b.Loop() {
		count, start := 0, "null"
		for start != "" {
			var page struct {
				Count            int
				LastEvaluatedKey json.RawMessage
			}
			if err := json.Unmarshal(t.do("Scan", `{"TableName":"fleet","ExclusiveStartKey":`+start+`}`), &page); err != nil {
				b.Fatal(err)
			}
			count, start = count+page.Count, string(page.LastEvaluatedKey)
		}
		if count != fleet {
			b.Fatalf("%d items", count)
		}
	}
}

func BenchmarkOnePartitionInPages(b *testing.B) {
	t := newBench(b)
	for i := range fleet {
		t.do("PutItem", fmt.Sprintf(`{"TableName":"fleet","Item":{"pk":{"S":"waiver"},"sk":{"S":"i-%d"}}}`, i*7919%fleet))
	}
	for b.Loop() {
		count, start := 0, "null"
		for start != "" {
			var page struct {
				Count            int
				LastEvaluatedKey json.RawMessage
			}
			body := t.do("Query", `{"TableName":"fleet","Limit":100,"ScanIndexForward":false,"KeyConditionExpression":"pk = :p",
				"ExpressionAttributeValues":{":p":{"S":"waiver"}},"ExclusiveStartKey":`+start+`}`)
			if err := json.Unmarshal(body, &page); err != nil {
				b.Fatal(err)
			}
			count, start = count+page.Count, string(page.LastEvaluatedKey)
		}
		if count != fleet {
			b.Fatalf("%d items", count)
		}
	}
}
