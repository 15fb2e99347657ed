package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// DynamoDB is what a Client needs of the SDK's client.
type DynamoDB interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
	Scan(context.Context, *dynamodb.ScanInput, ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
}

// Client reads and writes one ledger table. It is safe for concurrent use; its methods block for as long
// as the SDK's retries and ctx allow.
type Client struct {
	db    DynamoDB
	table string
}

// New gives a client for the table of that name.
func New(db DynamoDB, table string) *Client { return &Client{db: db, table: table} }

// ErrStale is returned by writes that would take the ledger back to an older state.
var ErrStale = errors.New("the ledger holds a newer entry")

const (
	beaconPrefix = "keyset#"
	reportPrefix = "report#"
	leasePrefix  = "lease#"
	ackPrefix    = "ack#"
)

type key struct{ pk, sk string }

func (k key) attributes() map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: k.pk},
		"sk": &types.AttributeValueMemberS{Value: k.sk},
	}
}

func jsonNames(o *attributevalue.EncoderOptions) { o.TagKey = "json" }

func jsonNamesIn(o *attributevalue.DecoderOptions) { o.TagKey = "json" }

func encode(k key, record any) (map[string]types.AttributeValue, error) {
	item, err := attributevalue.MarshalMapWithOptions(record, jsonNames)
	if err != nil {
		return nil, fmt.Errorf("encoding ledger item %q: %w", k.sk, err)
	}
	maps.Copy(item, k.attributes())
	return item, nil
}

func decode(item map[string]types.AttributeValue, into any) error {
	if err := attributevalue.UnmarshalMapWithOptions(item, into, jsonNamesIn); err != nil {
		return fmt.Errorf("decoding ledger item: %w", err)
	}
	return nil
}

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// get reads one item, eventually consistent unless asked otherwise; false means that there is none.
func (c *Client) get(ctx context.Context, k key, consistent bool, into any) (bool, error) {
	out, err := c.db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &c.table, Key: k.attributes(), ConsistentRead: aws.Bool(consistent)})
	if err != nil {
		return false, fmt.Errorf("reading ledger item %q: %w", k.sk, err)
	}
	if len(out.Item) == 0 {
		return false, nil
	}
	return true, decode(out.Item, into)
}

// condition is a PutItem condition over plain attribute names.
type condition struct {
	expression string
	names      map[string]string
	values     map[string]types.AttributeValue
}

// put writes one item if cond holds. When it does not, old (if not nil) is filled with the item that stood
// in the way and the error is ErrStale.
func (c *Client) put(ctx context.Context, k key, record any, cond condition, old any) error {
	item, err := encode(k, record)
	if err != nil {
		return err
	}
	in := &dynamodb.PutItemInput{TableName: &c.table, Item: item}
	if cond.expression != "" {
		in.ConditionExpression = &cond.expression
		in.ExpressionAttributeNames = cond.names
		in.ExpressionAttributeValues = cond.values
		in.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	}
	_, err = c.db.PutItem(ctx, in)
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		if old != nil && len(failed.Item) > 0 {
			if err := decode(failed.Item, old); err != nil {
				return err
			}
		}
		return fmt.Errorf("writing ledger item %q: %w", k.sk, ErrStale)
	}
	if err != nil {
		return fmt.Errorf("writing ledger item %q: %w", k.sk, err)
	}
	return nil
}

// deleteOwn deletes the item if its attribute, a string, has that value. One that has another, or that is gone already, is no error.
func (c *Client) deleteOwn(ctx context.Context, k key, attribute, value string) error {
	_, err := c.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName:                 &c.table,
		Key:                       k.attributes(),
		ConditionExpression:       aws.String("#a = :v"),
		ExpressionAttributeNames:  map[string]string{"#a": attribute},
		ExpressionAttributeValues: map[string]types.AttributeValue{":v": &types.AttributeValueMemberS{Value: value}},
	})
	if _, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return nil
	}
	return err
}

func epoch(t time.Time) int64 { return t.Unix() }
