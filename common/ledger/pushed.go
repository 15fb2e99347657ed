package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// PutPushed writes the acknowledgement that the rotator makes for a worker without an agent, in the place of the
// worker's own. It refuses with ErrStale to replace one that an agent has written and that is live at now.
func (c *Client) PutPushed(ctx context.Context, a Ack, now time.Time) error {
	a.Pushed, a.ReportedAt, a.ExpiresAt = true, now, epoch(now.Add(AckLifetime))
	if err := a.Validate(); err != nil {
		return fmt.Errorf("writing acknowledgement for a worker: %w", err)
	}
	return c.put(ctx, ackKey(a.Worker, a.SecretARN), a, condition{
		expression: "attribute_not_exists(pk) OR #p = :yes OR #e <= :now",
		names:      map[string]string{"#p": "pushed", "#e": "expiresAt"},
		values:     map[string]types.AttributeValue{":yes": &types.AttributeValueMemberBOOL{Value: true}, ":now": number(epoch(now))},
	}, nil)
}
