package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const waiverPrefix = "waiver#"

// Waiver lets rotations go on without one worker for a while. An operator asks for it and the rotator alone
// writes it.
type Waiver struct {
	SecretARN string    `json:"secretArn"`
	Worker    string    `json:"worker"` // instance id
	Actor     string    `json:"actor"`
	Reason    string    `json:"reason"`
	Until     time.Time `json:"until"`     // AWS time
	ExpiresAt int64     `json:"expiresAt"` // when DynamoDB may remove it
}

// Live reports whether w counts at the given AWS time: an expired item may stay for days.
func (w Waiver) Live(now time.Time) bool { return now.Before(w.Until) }

// PutWaiver records w, in place of an earlier waiver of the same worker.
func (c *Client) PutWaiver(ctx context.Context, w Waiver) error {
	w.ExpiresAt = epoch(w.Until) + 1
	return c.put(ctx, key{pk: waiverPrefix + w.SecretARN, sk: w.Worker}, w, condition{}, nil)
}

// DeleteWaiver ends the waiver of a worker, whose instance id this is. None is as good as one that has ended.
func (c *Client) DeleteWaiver(ctx context.Context, secretARN, worker string) error {
	k := key{pk: waiverPrefix + secretARN, sk: worker}
	if _, err := c.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &c.table, Key: k.attributes()}); err != nil {
		return fmt.Errorf("ending the waiver of %q: %w", worker, err)
	}
	return nil
}

// Waivers gives those of a secret that count at the given AWS time, ordered by worker.
func (c *Client) Waivers(ctx context.Context, secretARN string, now time.Time) ([]Waiver, error) {
	live := []Waiver{}
	pages := dynamodb.NewQueryPaginator(c.db, &dynamodb.QueryInput{
		TableName:                 &c.table,
		KeyConditionExpression:    aws.String("pk = :pk"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":pk": &types.AttributeValueMemberS{Value: waiverPrefix + secretARN}},
		ConsistentRead:            aws.Bool(true),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading waivers: %w", err)
		}
		for _, item := range page.Items {
			var w Waiver
			if err := decode(item, &w); err != nil {
				return nil, err
			}
			if w.Live(now) {
				live = append(live, w)
			}
		}
	}
	return live, nil
}
