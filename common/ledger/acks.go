package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"
)

// batchSize is the largest number of keys in one BatchGetItem call (DynamoDB API reference).
const batchSize = 100

func ackKey(worker, secretARN string) key { return key{pk: worker, sk: ackPrefix + secretARN} }

// PutAck writes a's acknowledgement and gives the pass number under which it stands. It refuses with
// ErrStale to replace one of a higher generation. Within one generation the pass number rises: where the
// table already holds a.Pass or more (the agent was restarted and counts afresh), a is written under the
// next number.
func (c *Client) PutAck(ctx context.Context, a Ack) (pass int64, err error) {
	if err := a.Validate(); err != nil {
		return 0, fmt.Errorf("writing acknowledgement: %w", err)
	}
	const tries = 3
	for range tries {
		var old Ack
		err = c.put(ctx, ackKey(a.Worker, a.SecretARN), a, newerAck(a), &old)
		if err == nil {
			return a.Pass, nil
		}
		if !errors.Is(err, ErrStale) || old.Generation > a.Generation {
			return 0, err
		}
		a.Pass = old.Pass + 1
	}
	return 0, err
}

// ReplaceAck writes a in the place of whatever acknowledgement there is, also of one of a higher generation. It is for the first one after
// an operator has made the worker forget the generations that it had seen.
func (c *Client) ReplaceAck(ctx context.Context, a Ack) error {
	if err := a.Validate(); err != nil {
		return fmt.Errorf("writing acknowledgement: %w", err)
	}
	return c.put(ctx, ackKey(a.Worker, a.SecretARN), a, condition{}, nil)
}

func newerAck(a Ack) condition {
	return condition{
		expression: "attribute_not_exists(pk) OR #g < :g OR (#g = :g AND #p < :p)",
		names:      map[string]string{"#g": "generation", "#p": "pass"},
		values:     map[string]types.AttributeValue{":g": number(a.Generation), ":p": number(a.Pass)},
	}
}

// readers is how many batches EachAck asks for at a time: enough that the way to DynamoDB and back does not
// count, and few enough that their answers, of up to 16 MB by DynamoDB's limit and some 200 KB as a rule, fit into
// a small function.
const readers = 8

// Acks reads the acknowledgements of the given workers for one secret, by worker. Workers that have none,
// or an invalid one, or one that has expired at now, are missing from the result.
func (c *Client) Acks(ctx context.Context, secretARN string, workers []string, now time.Time) (map[string]Ack, error) {
	acks := make(map[string]Ack, len(workers))
	if err := c.EachAck(ctx, secretARN, workers, now, func(a Ack) { acks[a.Worker] = a }); err != nil {
		return nil, err
	}
	return acks, nil
}

// EachAck is Acks for more workers than fit into memory with their acknowledgements: it passes one after the
// other to f, in no order, and keeps none. f is not called by two goroutines at once, and finds in Worker the very
// string that the caller holds, so that it may keep that one without keeping an answer alive. EachAck asks in
// batches of 100, several at a time, and repeats what DynamoDB left unprocessed, with back-off, until ctx ends.
// After an error f has seen some of them.
func (c *Client) EachAck(ctx context.Context, secretARN string, workers []string, now time.Time, f func(Ack)) error {
	var one sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for batch := range slices.Chunk(workers, batchSize) {
		g.Go(func() error {
			return c.ackBatch(ctx, secretARN, batch, now, func(a Ack) {
				one.Lock()
				defer one.Unlock()
				f(a)
			})
		})
	}
	return g.Wait()
}

func (c *Client) ackBatch(ctx context.Context, secretARN string, workers []string, now time.Time, f func(Ack)) error {
	keys := make([]map[string]types.AttributeValue, len(workers))
	own := make(map[string]string, len(workers))
	for i, w := range workers {
		keys[i] = ackKey(w, secretARN).attributes()
		own[w] = w
	}
	request := map[string]types.KeysAndAttributes{c.table: {Keys: keys}}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		out, err := c.db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: request})
		if err != nil {
			return fmt.Errorf("reading acknowledgements: %w", err)
		}
		for _, item := range out.Responses[c.table] {
			var a Ack
			if decode(item, &a) == nil && a.Validate() == nil && a.Live(now) && samePlace(item, a) {
				a.Worker = own[a.Worker]
				f(a)
			}
		}
		if request = out.UnprocessedKeys; len(request) == 0 {
			return nil
		}
		if err := sleep(ctx, wait/2+rand.N(wait)); err != nil {
			return fmt.Errorf("reading acknowledgements: %w", err)
		}
	}
}

// samePlace guards against a worker that writes another worker's name into its own item: IAM vouches for
// the partition key only.
func samePlace(item map[string]types.AttributeValue, a Ack) bool {
	pk, ok := item["pk"].(*types.AttributeValueMemberS)
	if !ok || pk.Value != a.Worker {
		return false
	}
	sk, ok := item["sk"].(*types.AttributeValueMemberS)
	return ok && sk.Value == ackPrefix+a.SecretARN
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
