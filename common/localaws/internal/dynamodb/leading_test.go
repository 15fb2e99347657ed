package dynamodb_test

import (
	"fmt"
	"testing"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wiretest"
)

func TestPartitionKeysThatARequestTouches(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct{ action, body, want string }{
		{"GetItem", `{"TableName":"ledger","Key":{"pk":{"S":"a"},"sk":{"S":"x"}}}`, "[{ledger a}] true"},
		{"UpdateItem", `{"TableName":"ledger","Key":{"pk":{"S":"a"},"sk":{"S":"x"}},"UpdateExpression":"SET n = :n"}`, "[{ledger a}] true"},
		{"DeleteItem", `{"TableName":"ledger","Key":{"pk":{"S":"a"},"sk":{"S":"x"}}}`, "[{ledger a}] true"},
		{"PutItem", `{"TableName":"ledger","Item":{"pk":{"S":"b"},"sk":{"S":"x"}},"Key":{"pk":{"S":"a"}}}`, "[{ledger b}] true"},
		{"PutItem", `{"TableName":"ledger","Item":{"sk":{"S":"x"}}}`, "[] false"},
		{"GetItem", `{"TableName":"other","Key":{"pk":{"S":"a"}}}`, "[] false"},
		{"GetItem", `{`, "[] false"},
		{"Query", `{"TableName":"ledger","KeyConditionExpression":"sk = :x AND #p = :a","ExpressionAttributeNames":{"#p":"pk"},
			"ExpressionAttributeValues":{":x":{"S":"pk"},":a":{"S":"keyset#1"}}}`, "[{ledger keyset#1}] true"},
		{"Query", `{"TableName":"ledger","KeyConditionExpression":"pk = :a OR pk = :b","ExpressionAttributeValues":{":a":{"S":"a"},":b":{"S":"b"}}}`, "[] false"},
		{"Query", `{"TableName":"ledger"}`, "[] false"},
		{"BatchGetItem", `{"RequestItems":{"ledger":{"Keys":[{"pk":{"S":"a"},"sk":{"S":"x"}},{"pk":{"S":"b"},"sk":{"S":"x"}}]}}}`, "[{ledger a} {ledger b}] true"},
		{"BatchGetItem", `{"RequestItems":{"ledger":{"Keys":[{"pk":{"S":"a"},"sk":{"S":"x"}},{"sk":{"S":"x"}}]}}}`, "[] false"},
		{"BatchGetItem", `{"RequestItems":{}}`, "[] false"},
		{"Scan", `{"TableName":"ledger"}`, "[] false"},
		{"BatchWriteItem", `{"RequestItems":{"ledger":[{"PutRequest":{"Item":{"pk":{"S":"a"},"sk":{"S":"x"}}}}]}}`, "[] false"},
		{"DeleteTable", `{"TableName":"ledger"}`, "[] false"},
	} {
		keys, ok := f.service.LeadingKeys(wiretest.Request("dynamodb", "DynamoDB_20120810."+tt.action, []byte(tt.body)))
		if got := fmt.Sprint(keys, ok); got != tt.want {
			t.Errorf("%s %s = %s, want %s", tt.action, tt.body, got, tt.want)
		}
	}
}
