package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"
)

// segments is how many parts of the table EachWorker reads at a time.
const segments = 8

// EachWorker passes to f, in no order and one after the other, each worker that has a live acknowledgement for the
// secret, whoever it is. It reads the whole table, which costs half a read unit for each 4 KB of it: ask once, and
// not in a loop. After an error f has seen some of them.
func (c *Client) EachWorker(ctx context.Context, secretARN string, now time.Time, f func(worker string)) error {
	found := make(chan string)
	g, ctx := errgroup.WithContext(ctx)
	for segment := range int32(segments) {
		g.Go(func() error { return c.scanSegment(ctx, secretARN, segment, now, found) })
	}
	done := make(chan error, 1)
	go func() {
		done <- g.Wait()
		close(found)
	}()
	for worker := range found {
		f(worker)
	}
	return <-done
}

// scanSegment asks for little more than the keys: an item is some 2 KB, and a fleet's together do not fit into memory.
func (c *Client) scanSegment(ctx context.Context, secretARN string, segment int32, now time.Time, found chan<- string) error {
	pages := dynamodb.NewScanPaginator(c.db, &dynamodb.ScanInput{
		TableName: &c.table, Segment: &segment, TotalSegments: aws.Int32(segments),
		FilterExpression:          aws.String("sk = :sk"),
		ProjectionExpression:      aws.String("pk, expiresAt"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":sk": &types.AttributeValueMemberS{Value: ackPrefix + secretARN}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("looking through all acknowledgements: %w", err)
		}
		for _, item := range page.Items {
			var a struct {
				Worker    string `json:"pk"`
				ExpiresAt int64  `json:"expiresAt"`
			}
			if decode(item, &a) != nil || !ValidWorker(a.Worker) || !(Ack{ExpiresAt: a.ExpiresAt}).Live(now) {
				continue
			}
			select {
			case found <- a.Worker:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}
