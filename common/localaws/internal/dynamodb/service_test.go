package dynamodb_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wiretest"
)

const ledger = "ledger"

type item = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }

func id(pk, sk string) item { return item{"pk": str(pk), "sk": str(sk)} }

// with adds attributes to a key.
func (f *fixture) row(pk, sk string, more ...any) item {
	it := id(pk, sk)
	for i := 0; i < len(more); i += 2 {
		it[more[i].(string)] = more[i+1].(types.AttributeValue)
	}
	return it
}

type fixture struct {
	*sdk.Client
	t       testing.TB
	service *dynamodb.Service
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	s := dynamodb.New(dynamodb.Deps{})
	cfg := wiretest.Serve(t, map[string]wire.Handler{"dynamodb": s})
	f := &fixture{sdk.NewFromConfig(cfg), t, s}
	_, err := f.CreateTable(context.Background(), &sdk.CreateTableInput{
		TableName:   aws.String(ledger),
		BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) put(it item) {
	f.t.Helper()
	if _, err := f.PutItem(f.t.Context(), &sdk.PutItemInput{TableName: aws.String(ledger), Item: it}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) get(pk, sk string) item {
	f.t.Helper()
	out, err := f.GetItem(f.t.Context(), &sdk.GetItemInput{TableName: aws.String(ledger), Key: id(pk, sk)})
	if err != nil {
		f.t.Fatal(err)
	}
	return out.Item
}

var ignoreUnexported = cmpopts.IgnoreUnexported(
	types.AttributeValueMemberS{}, types.AttributeValueMemberN{}, types.AttributeValueMemberL{}, types.AttributeValueMemberM{},
	types.AttributeValueMemberBOOL{}, types.AttributeValueMemberNULL{}, types.AttributeValueMemberB{}, types.AttributeValueMemberSS{},
	types.AttributeValueMemberNS{}, types.AttributeValueMemberBS{})

func wantItem(t testing.TB, got, want item) {
	t.Helper()
	if diff := cmp.Diff(want, got, ignoreUnexported); diff != "" {
		t.Errorf("item differs (-want +got):\n%s", diff)
	}
}

// wantRefusal checks the code of an API error and a part of its message.
func wantRefusal(t testing.TB, err error, code, message string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Fatalf("error = %v, want %s", err, code)
	}
	if api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), message) {
		t.Errorf("error = %s: %s, want %s: …%s…", api.ErrorCode(), api.ErrorMessage(), code, message)
	}
}

func TestEveryKindOfValueComesBackAsItWas(t *testing.T) {
	f := newFixture(t)
	it := f.row("p", "s",
		"text", str("päß \"quoted\" \\ <&> \u2028 \x01"), "empty", str(""), "number", num("-12.5"), "bytes", &types.AttributeValueMemberB{Value: []byte{0, 255, 7}},
		"yes", &types.AttributeValueMemberBOOL{Value: true}, "no", &types.AttributeValueMemberBOOL{}, "nothing", &types.AttributeValueMemberNULL{Value: true},
		"list", &types.AttributeValueMemberL{Value: []types.AttributeValue{str("a"), &types.AttributeValueMemberM{Value: item{"k": num("1")}}}},
		"names", &types.AttributeValueMemberSS{Value: []string{"a", "b"}}, "numbers", &types.AttributeValueMemberNS{Value: []string{"-1", "2", "10"}},
		"blobs", &types.AttributeValueMemberBS{Value: [][]byte{{1}, {2}}}, "emptyMap", &types.AttributeValueMemberM{Value: item{}})
	f.put(it)
	wantItem(t, f.get("p", "s"), it)
	if got := f.get("p", "other"); got != nil {
		t.Errorf("item that was never put = %v, want none", got)
	}
}

func TestAFailedConditionReturnsTheItemWhenAsked(t *testing.T) {
	f := newFixture(t)
	f.put(f.row("p", "s", "generation", num("7")))
	in := &sdk.PutItemInput{
		TableName: aws.String(ledger), Item: f.row("p", "s", "generation", num("6")),
		ConditionExpression:                 aws.String("attribute_not_exists(pk) OR generation <= :g"),
		ExpressionAttributeValues:           item{":g": num("6")},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	_, err := f.PutItem(t.Context(), in)
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		t.Fatalf("error = %v, want ConditionalCheckFailedException", err)
	}
	wantItem(t, failed.Item, f.row("p", "s", "generation", num("7")))

	in.ReturnValuesOnConditionCheckFailure = ""
	_, err = f.PutItem(t.Context(), in)
	if !errors.As(err, &failed) || failed.Item != nil {
		t.Errorf("error = %v with item %v, want a failed condition without item", err, failed.Item)
	}
	wantItem(t, f.get("p", "s"), f.row("p", "s", "generation", num("7")))
}

func TestAConditionOnAnAbsentItem(t *testing.T) {
	f := newFixture(t)
	_, err := f.DeleteItem(t.Context(), &sdk.DeleteItemInput{
		TableName: aws.String(ledger), Key: id("p", "s"), ConditionExpression: aws.String("attribute_exists(pk)"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	wantRefusal(t, err, "ConditionalCheckFailedException", "The conditional request failed")
	_, err = f.DeleteItem(t.Context(), &sdk.DeleteItemInput{TableName: aws.String(ledger), Key: id("p", "s")})
	if err != nil {
		t.Errorf("deleting what is not there: %v, want success", err)
	}
}

func TestUpdateReturnsWhatWasAskedFor(t *testing.T) {
	before := func(f *fixture) item { return f.row("p", "s", "count", num("1"), "kept", str("k")) }
	after := func(f *fixture) item { return f.row("p", "s", "count", num("3"), "kept", str("k"), "added", str("a")) }
	tests := []struct {
		mode types.ReturnValue
		want func(f *fixture) item
	}{
		{types.ReturnValueNone, func(*fixture) item { return nil }},
		{types.ReturnValueAllOld, before},
		{types.ReturnValueAllNew, after},
		{types.ReturnValueUpdatedOld, func(*fixture) item { return item{"count": num("1")} }},
		{types.ReturnValueUpdatedNew, func(*fixture) item { return item{"count": num("3"), "added": str("a")} }},
	}
	for _, tt := range tests {
		t.Run(string(tt.mode), func(t *testing.T) {
			f := newFixture(t)
			f.put(before(f))
			out, err := f.UpdateItem(t.Context(), &sdk.UpdateItemInput{
				TableName: aws.String(ledger), Key: id("p", "s"), ReturnValues: tt.mode,
				UpdateExpression:          aws.String("SET #c = #c + :two, added = :a"),
				ExpressionAttributeNames:  map[string]string{"#c": "count"},
				ExpressionAttributeValues: item{":two": num("2"), ":a": str("a")},
			})
			if err != nil {
				t.Fatal(err)
			}
			wantItem(t, out.Attributes, tt.want(f))
			wantItem(t, f.get("p", "s"), after(f))
		})
	}
}

func TestUpdateMakesAnAbsentItem(t *testing.T) {
	f := newFixture(t)
	_, err := f.UpdateItem(t.Context(), &sdk.UpdateItemInput{
		TableName: aws.String(ledger), Key: id("p", "s"), UpdateExpression: aws.String("ADD hits :one"), ExpressionAttributeValues: item{":one": num("1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantItem(t, f.get("p", "s"), f.row("p", "s", "hits", num("1")))
}

func TestItemsAndKeysOutOfBoundsAreRefused(t *testing.T) {
	f := newFixture(t)
	big := strings.Repeat("x", 400<<10-len("pk")-len("sk")-len("body")-2)
	tests := []struct {
		name, message string
		item          item
	}{
		{"one byte over 400 KB", "Item size has exceeded the maximum allowed size", f.row("p", "s", "body", str(big+"x"))},
		{"empty partition key", "cannot contain an empty string value. Key: pk", id("", "s")},
		{"empty sort key", "cannot contain an empty string value. Key: sk", id("p", "")},
		{"sort key missing", "Missing the key sk in the item", item{"pk": str("p")}},
		{"key of another type", "Type mismatch for key sk expected: S actual: N", item{"pk": str("p"), "sk": num("1")}},
		{"long partition key", "Size of hashkey", id(strings.Repeat("p", 2049), "s")},
		{"long sort key", "Aggregated size of all range keys", id("p", strings.Repeat("s", 1025))},
		{"empty set", "may not be empty", f.row("p", "s", "set", &types.AttributeValueMemberSS{Value: []string{}})},
		{"set with duplicates", "contains duplicates", f.row("p", "s", "set", &types.AttributeValueMemberNS{Value: []string{"1", "1.0"}})},
		{"39 digits", "more than 38 significant digits", f.row("p", "s", "n", num(strings.Repeat("9", 39)))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := f.PutItem(t.Context(), &sdk.PutItemInput{TableName: aws.String(ledger), Item: tt.item})
			wantRefusal(t, err, "ValidationException", tt.message)
		})
	}
	f.put(f.row("p", "s", "body", str(big)))
	_, err := f.UpdateItem(t.Context(), &sdk.UpdateItemInput{
		TableName: aws.String(ledger), Key: id("p", "s"), UpdateExpression: aws.String("SET more = :x"), ExpressionAttributeValues: item{":x": str("x")},
	})
	wantRefusal(t, err, "ValidationException", "Item size to update has exceeded the maximum allowed size")
}

func TestUnknownTableAndUnknownMembersAreRefused(t *testing.T) {
	f := newFixture(t)
	_, err := f.GetItem(t.Context(), &sdk.GetItemInput{TableName: aws.String("other"), Key: id("p", "s")})
	wantRefusal(t, err, "ResourceNotFoundException", "Requested resource not found")
	_, err = f.Query(t.Context(), &sdk.QueryInput{
		TableName: aws.String(ledger), IndexName: aws.String("by-time"), KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: item{":p": str("p")},
	})
	wantRefusal(t, err, "SerializationException", "IndexName")
	_, err = f.GetItem(t.Context(), &sdk.GetItemInput{TableName: aws.String(ledger), Key: item{"pk": str("p")}})
	wantRefusal(t, err, "ValidationException", "The provided key element does not match the schema")
}

func (f *fixture) sortKeys(in *sdk.QueryInput) (keys []string, pages int) {
	f.t.Helper()
	in.TableName = aws.String(ledger)
	p := sdk.NewQueryPaginator(f.Client, in)
	for p.HasMorePages() {
		out, err := p.NextPage(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		pages++
		for _, it := range out.Items {
			keys = append(keys, it["sk"].(*types.AttributeValueMemberS).Value)
		}
	}
	return keys, pages
}

func TestQueryFindsRangesInEitherOrder(t *testing.T) {
	f := newFixture(t)
	for _, sk := range []string{"b#2", "a#1", "b#10", "b#1", "c", "a#2"} {
		f.put(id("p", sk))
	}
	f.put(id("q", "b#1"))
	tests := []struct {
		name, condition string
		values          item
		backward        bool
		limit           int32
		want            []string
		pages           int
	}{
		{"whole partition", "pk = :p", item{}, false, 0, []string{"a#1", "a#2", "b#1", "b#10", "b#2", "c"}, 1},
		{"prefix", "pk = :p AND begins_with(sk, :a)", item{":a": str("b#")}, false, 0, []string{"b#1", "b#10", "b#2"}, 1},
		{"prefix backward, one a page", "pk = :p AND begins_with(sk, :a)", item{":a": str("b#")}, true, 1, []string{"b#2", "b#10", "b#1"}, 4},
		{"prefix forward, two a page", "begins_with(sk, :a) AND pk = :p", item{":a": str("b#")}, false, 2, []string{"b#1", "b#10", "b#2"}, 2},
		{"below", "pk = :p AND sk < :a", item{":a": str("b#1")}, false, 0, []string{"a#1", "a#2"}, 1},
		{"up to", "pk = :p AND sk <= :a", item{":a": str("b#1")}, true, 0, []string{"b#1", "a#2", "a#1"}, 1},
		{"above", "pk = :p AND sk > :a", item{":a": str("b#10")}, false, 0, []string{"b#2", "c"}, 1},
		{"from", "pk = :p AND sk >= :a", item{":a": str("b#10")}, false, 2, []string{"b#10", "b#2", "c"}, 2},
		{"between", "pk = :p AND sk BETWEEN :a AND :b", item{":a": str("a#2"), ":b": str("b#10")}, false, 0, []string{"a#2", "b#1", "b#10"}, 1},
		{"exactly", "(pk = :p) AND (sk = :a)", item{":a": str("c")}, false, 0, []string{"c"}, 1},
		{"nothing", "pk = :p AND sk = :a", item{":a": str("none")}, false, 0, nil, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.values[":p"] = str("p")
			in := &sdk.QueryInput{KeyConditionExpression: &tt.condition, ExpressionAttributeValues: tt.values, ScanIndexForward: aws.Bool(!tt.backward)}
			if tt.limit > 0 {
				in.Limit = &tt.limit
			}
			got, pages := f.sortKeys(in)
			if !slices.Equal(got, tt.want) || pages != tt.pages {
				t.Errorf("got %q in %d pages, want %q in %d", got, pages, tt.want, tt.pages)
			}
		})
	}
}

func TestLimitCountsBeforeTheFilter(t *testing.T) {
	f := newFixture(t)
	for i := range 10 {
		f.put(f.row("p", fmt.Sprint(i), "even", &types.AttributeValueMemberBOOL{Value: i%2 == 0}))
	}
	out, err := f.Query(t.Context(), &sdk.QueryInput{
		TableName: aws.String(ledger), KeyConditionExpression: aws.String("pk = :p"), FilterExpression: aws.String("even = :yes"), Limit: aws.Int32(4),
		ExpressionAttributeValues: item{":p": str("p"), ":yes": &types.AttributeValueMemberBOOL{Value: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if out.Count != 2 || out.ScannedCount != 4 || out.LastEvaluatedKey == nil {
		t.Errorf("count %d, scanned %d, last key %v; want 2, 4 and a key", out.Count, out.ScannedCount, out.LastEvaluatedKey)
	}
}

func TestAPageEndsAtOneMegabyte(t *testing.T) {
	f := newFixture(t)
	body := str(strings.Repeat("x", 100<<10))
	for i := range 25 {
		f.put(f.row("p", fmt.Sprintf("%02d", i), "body", body))
	}
	for _, backward := range []bool{false, true} {
		keys, pages := f.sortKeys(&sdk.QueryInput{
			KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: item{":p": str("p")}, ScanIndexForward: aws.Bool(!backward),
		})
		if len(keys) != 25 || pages != 3 {
			t.Errorf("backward %v: %d items in %d pages, want 25 in 3", backward, len(keys), pages)
		}
	}
}

func TestDeletingTheStartKeyDoesNotDisturbPaging(t *testing.T) {
	f := newFixture(t)
	for i := range 6 {
		f.put(id("p", fmt.Sprint(i)))
	}
	in := &sdk.QueryInput{TableName: aws.String(ledger), KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: item{":p": str("p")}, Limit: aws.Int32(3)}
	first, err := f.Query(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.DeleteItem(t.Context(), &sdk.DeleteItemInput{TableName: aws.String(ledger), Key: first.LastEvaluatedKey}); err != nil {
		t.Fatal(err)
	}
	in.ExclusiveStartKey = first.LastEvaluatedKey
	keys, _ := f.sortKeys(in)
	if want := []string{"3", "4", "5"}; !slices.Equal(keys, want) {
		t.Errorf("second page = %q, want %q", keys, want)
	}
}

func TestScanSegmentsPartitionTheTable(t *testing.T) {
	f := newFixture(t)
	const total = 7
	want := map[string]bool{}
	for i := range 200 {
		pk := fmt.Sprintf("instance-%d", i)
		f.put(id(pk, "ack"))
		want[pk] = true
	}
	for segment := range int32(total) {
		p := sdk.NewScanPaginator(f.Client, &sdk.ScanInput{
			TableName: aws.String(ledger), Segment: &segment, TotalSegments: aws.Int32(total), Limit: aws.Int32(10), ProjectionExpression: aws.String("pk"),
		})
		count := 0
		for p.HasMorePages() {
			out, err := p.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range out.Items {
				pk := it["pk"].(*types.AttributeValueMemberS).Value
				if !want[pk] || len(it) != 1 {
					t.Errorf("segment %d: item %v comes twice or whole", segment, it)
				}
				delete(want, pk)
				count++
			}
		}
		if count == 0 || count > 70 {
			t.Errorf("segment %d has %d of 200 items", segment, count)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d items in no segment", len(want))
	}
}

func TestBatchGetTakesAHundredKeysAndNoMore(t *testing.T) {
	f := newFixture(t)
	var keys []item
	for i := range 101 {
		k := id(fmt.Sprintf("instance-%d", i), "ack")
		keys = append(keys, k)
		if i%2 == 0 {
			f.put(k)
		}
	}
	get := func(keys []item) (*sdk.BatchGetItemOutput, error) {
		return f.BatchGetItem(t.Context(), &sdk.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{ledger: {Keys: keys}}})
	}
	out, err := get(keys[:100])
	if err != nil {
		t.Fatal(err)
	}
	if n := len(out.Responses[ledger]); n != 50 || len(out.UnprocessedKeys) != 0 {
		t.Errorf("%d items and %d unprocessed, want 50 and 0", n, len(out.UnprocessedKeys))
	}
	_, err = get(keys)
	wantRefusal(t, err, "ValidationException", "Too many items requested for the BatchGetItem call")
	_, err = get([]item{keys[0], keys[0]})
	wantRefusal(t, err, "ValidationException", "Provided list of item keys contains duplicates")
}

func TestBatchGetLeavesKeysOverSixteenMegabytesUnprocessed(t *testing.T) {
	f := newFixture(t)
	body := str(strings.Repeat("x", 390<<10))
	var keys []item
	for i := range 43 {
		f.put(f.row(fmt.Sprint(i), "s", "body", body))
		keys = append(keys, id(fmt.Sprint(i), "s"))
	}
	requests := map[string]types.KeysAndAttributes{ledger: {Keys: keys, ProjectionExpression: aws.String("pk")}}
	seen, rounds := 0, 0
	for len(requests) > 0 {
		out, err := f.BatchGetItem(t.Context(), &sdk.BatchGetItemInput{RequestItems: requests})
		if err != nil {
			t.Fatal(err)
		}
		seen += len(out.Responses[ledger])
		rounds++
		requests = out.UnprocessedKeys
	}
	if seen != 43 || rounds != 2 {
		t.Errorf("%d items in %d rounds, want 43 in 2", seen, rounds)
	}
}

func TestBatchWritePutsAndDeletes(t *testing.T) {
	f := newFixture(t)
	f.put(id("old", "s"))
	put := func(pk string) types.WriteRequest {
		return types.WriteRequest{PutRequest: &types.PutRequest{Item: id(pk, "s")}}
	}
	requests := []types.WriteRequest{put("new"), {DeleteRequest: &types.DeleteRequest{Key: id("old", "s")}}}
	_, err := f.BatchWriteItem(t.Context(), &sdk.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{ledger: requests}})
	if err != nil {
		t.Fatal(err)
	}
	if f.get("new", "s") == nil || f.get("old", "s") != nil {
		t.Error("batch did not put the new item and delete the old one")
	}
	var many []types.WriteRequest
	for i := range 26 {
		many = append(many, put(fmt.Sprint(i)))
	}
	_, err = f.BatchWriteItem(t.Context(), &sdk.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{ledger: many}})
	wantRefusal(t, err, "ValidationException", "Too many items requested for the BatchWriteItem call")
	if f.get("0", "s") != nil {
		t.Error("a refused batch wrote an item")
	}
}

func TestATransactionDoesAllOrNothing(t *testing.T) {
	f := newFixture(t)
	f.put(f.row("lease", "phase", "holder", str("a")))
	attempt := func(holder string) error {
		_, err := f.TransactWriteItems(t.Context(), &sdk.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
			{Put: &types.Put{TableName: aws.String(ledger), Item: id("report", holder)}},
			{ConditionCheck: &types.ConditionCheck{
				TableName: aws.String(ledger), Key: id("lease", "phase"), ConditionExpression: aws.String("holder = :h"),
				ExpressionAttributeValues:           item{":h": str(holder)},
				ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
			}},
		}})
		return err
	}
	var cancelled *types.TransactionCanceledException
	if err := attempt("b"); !errors.As(err, &cancelled) {
		t.Fatalf("error = %v, want TransactionCanceledException", err)
	}
	if n := len(cancelled.CancellationReasons); n != 2 {
		t.Fatalf("%d reasons, want 2", n)
	}
	if got := aws.ToString(cancelled.CancellationReasons[0].Code) + " " + aws.ToString(cancelled.CancellationReasons[1].Code); got != "None ConditionalCheckFailed" {
		t.Errorf("reasons = %s", got)
	}
	wantItem(t, cancelled.CancellationReasons[1].Item, f.row("lease", "phase", "holder", str("a")))
	if f.get("report", "b") != nil {
		t.Error("a cancelled transaction wrote an item")
	}
	if err := attempt("a"); err != nil {
		t.Errorf("transaction whose check holds: %v", err)
	}
	wantItem(t, f.get("lease", "phase"), f.row("lease", "phase", "holder", str("a")))
	if f.get("report", "a") == nil {
		t.Error("a successful transaction wrote nothing")
	}
}

func TestARepeatedTransactionTokenHasNoSecondEffect(t *testing.T) {
	f := newFixture(t)
	add := func(token, amount string) error {
		_, err := f.TransactWriteItems(t.Context(), &sdk.TransactWriteItemsInput{
			ClientRequestToken: &token,
			TransactItems: []types.TransactWriteItem{{Update: &types.Update{
				TableName: aws.String(ledger), Key: id("p", "s"), UpdateExpression: aws.String("ADD n :a"), ExpressionAttributeValues: item{":a": num(amount)},
			}}},
		})
		return err
	}
	for range 2 {
		if err := add("token", "1"); err != nil {
			t.Fatal(err)
		}
	}
	wantItem(t, f.get("p", "s"), f.row("p", "s", "n", num("1")))
	wantRefusal(t, add("token", "2"), "IdempotentParameterMismatchException", "")
}

func TestTablesAreDescribedListedAndDeleted(t *testing.T) {
	f := newFixture(t)
	out, err := f.DescribeTable(t.Context(), &sdk.DescribeTableInput{TableName: aws.String(ledger)})
	if err != nil {
		t.Fatal(err)
	}
	if out.Table.TableStatus != types.TableStatusActive || aws.ToString(out.Table.TableArn) != "arn:aws:dynamodb:us-east-1:111122223333:table/ledger" {
		t.Errorf("described as %s %s", out.Table.TableStatus, aws.ToString(out.Table.TableArn))
	}
	names, err := f.ListTables(t.Context(), &sdk.ListTablesInput{})
	if err != nil || !slices.Equal(names.TableNames, []string{ledger}) {
		t.Errorf("tables = %v, %v", names, err)
	}
	if _, err := f.DeleteTable(t.Context(), &sdk.DeleteTableInput{TableName: aws.String(ledger)}); err != nil {
		t.Fatal(err)
	}
	_, err = f.DescribeTable(t.Context(), &sdk.DescribeTableInput{TableName: aws.String(ledger)})
	wantRefusal(t, err, "ResourceNotFoundException", "Table: ledger not found")
}

func TestExpiredItemsStayUntilTheyAreReaped(t *testing.T) {
	f := newFixture(t)
	_, err := f.UpdateTimeToLive(t.Context(), &sdk.UpdateTimeToLiveInput{
		TableName: aws.String(ledger), TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expiresAt"), Enabled: aws.Bool(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	described, err := f.DescribeTimeToLive(t.Context(), &sdk.DescribeTimeToLiveInput{TableName: aws.String(ledger)})
	if err != nil || described.TimeToLiveDescription.TimeToLiveStatus != types.TimeToLiveStatusEnabled {
		t.Fatalf("time to live = %+v, %v", described, err)
	}
	now := time.Unix(1_800_000_000, 0)
	f.put(f.row("p", "past", "expiresAt", num("1799999999")))
	f.put(f.row("p", "future", "expiresAt", num("1800000001")))
	f.put(f.row("p", "longPast", "expiresAt", num("1")))
	f.put(f.row("p", "text", "expiresAt", str("1799999999")))
	if f.get("p", "past") == nil {
		t.Error("an expired item vanished before it was reaped")
	}
	if n := f.service.Expire(now); n != 1 || f.get("p", "past") != nil {
		t.Errorf("%d items reaped, want the one of the recent past", n)
	}
}

func TestConsumedCapacityIsReported(t *testing.T) {
	f := newFixture(t)
	out, err := f.PutItem(t.Context(), &sdk.PutItemInput{
		TableName: aws.String(ledger), Item: f.row("p", "s", "body", str(strings.Repeat("x", 1500))), ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	})
	if err != nil || aws.ToFloat64(out.ConsumedCapacity.CapacityUnits) != 2 {
		t.Errorf("write of 1.5 KB costs %+v, %v; want 2 units", out.ConsumedCapacity, err)
	}
	read, err := f.GetItem(t.Context(), &sdk.GetItemInput{TableName: aws.String(ledger), Key: id("p", "s"), ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal})
	if err != nil || aws.ToFloat64(read.ConsumedCapacity.CapacityUnits) != 0.5 {
		t.Errorf("eventually consistent read of 1.5 KB costs %+v, %v; want half a unit", read.ConsumedCapacity, err)
	}
}
