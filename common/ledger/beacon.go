package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func beaconKey(secretARN string) key { return key{pk: beaconPrefix + secretARN, sk: "beacon"} }

// Beacon reads the beacon of a secret; false means that nothing has been published. It is an eventually
// consistent read, the cheapest that DynamoDB has: half a read unit.
func (c *Client) Beacon(ctx context.Context, secretARN string) (Beacon, bool, error) {
	var b Beacon
	found, err := c.get(ctx, beaconKey(secretARN), false, &b)
	return b, found, err
}

// BeaconConsistent is Beacon with a strongly consistent read, for the one who is about to count on from it.
func (c *Client) BeaconConsistent(ctx context.Context, secretARN string) (Beacon, bool, error) {
	var b Beacon
	found, err := c.get(ctx, beaconKey(secretARN), true, &b)
	return b, found, err
}

// PutBeacon publishes b unless the table holds one of a higher generation, which is ErrStale.
func (c *Client) PutBeacon(ctx context.Context, b Beacon) error {
	return c.put(ctx, beaconKey(b.SecretARN), b, condition{
		expression: "attribute_not_exists(pk) OR #g <= :g",
		names:      map[string]string{"#g": "generation"},
		values:     map[string]types.AttributeValue{":g": number(b.Generation)},
	}, nil)
}

func reportKey(r Report) key {
	return key{pk: reportPrefix + r.SecretARN, sk: fmt.Sprintf("%010d#%s", r.Generation, r.Phase)}
}

// PutReport records r, replacing an earlier one of the same generation and phase.
func (c *Client) PutReport(ctx context.Context, r Report) error {
	return c.put(ctx, reportKey(r), r, condition{}, nil)
}

// Reports gives up to limit reports of a secret, the newest generation first.
func (c *Client) Reports(ctx context.Context, secretARN string, limit int32) ([]Report, error) {
	out, err := c.db.Query(ctx, &dynamodb.QueryInput{
		TableName:                 &c.table,
		KeyConditionExpression:    aws.String("pk = :pk"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":pk": &types.AttributeValueMemberS{Value: reportPrefix + secretARN}},
		ScanIndexForward:          aws.Bool(false),
		ConsistentRead:            aws.Bool(true),
		Limit:                     &limit,
	})
	if err != nil {
		return nil, fmt.Errorf("reading reports: %w", err)
	}
	reports := make([]Report, len(out.Items))
	for i, item := range out.Items {
		if err := decode(item, &reports[i]); err != nil {
			return nil, err
		}
	}
	return reports, nil
}

// Lease is the right to move labels and publish keysets for one secret, held by one invocation at a time.
type Lease struct {
	SecretARN string `json:"secretArn"`
	Owner     string `json:"owner"`   // the invocation's request id
	Purpose   string `json:"purpose"` // promoting, aborting, rolling-back, revoking
	ExpiresAt int64  `json:"expiresAt"`
}

// ErrLeaseHeld is returned by AcquireLease while another owner holds the lease.
var ErrLeaseHeld = errors.New("another invocation is changing this secret")

func leaseKey(secretARN string) key { return key{pk: leasePrefix + secretARN, sk: "phase"} }

// AcquireLease takes or renews the lease until now plus ttl; both are AWS time. ErrLeaseHeld names the
// holder and its purpose.
func (c *Client) AcquireLease(ctx context.Context, l Lease, now time.Time, ttl time.Duration) error {
	l.ExpiresAt = epoch(now.Add(ttl)) + 1
	var holder Lease
	err := c.put(ctx, leaseKey(l.SecretARN), l, condition{
		expression: "attribute_not_exists(pk) OR #e <= :now OR #o = :me",
		names:      map[string]string{"#e": "expiresAt", "#o": "owner"},
		values:     map[string]types.AttributeValue{":now": number(epoch(now)), ":me": &types.AttributeValueMemberS{Value: l.Owner}},
	}, &holder)
	if errors.Is(err, ErrStale) {
		return fmt.Errorf("%w: %s is %s, until %s at the latest", ErrLeaseHeld, holder.Owner, holder.Purpose,
			time.Unix(holder.ExpiresAt, 0).UTC().Format(time.RFC3339))
	}
	return err
}

// ReleaseLease gives the lease back; a lease that is no longer the owner's is left alone.
func (c *Client) ReleaseLease(ctx context.Context, l Lease) error {
	if err := c.deleteOwn(ctx, leaseKey(l.SecretARN), "owner", l.Owner); err != nil {
		return fmt.Errorf("releasing lease: %w", err)
	}
	return nil
}
