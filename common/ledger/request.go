package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const (
	requestPrefix = "request#"
	windowSort    = "window"
	requestSort   = "id#"
	// requestLifetime is longer than anybody delivers an event again.
	requestLifetime = 7 * 24 * time.Hour
)

// RotationRequest is a rotation that an event or an operator asked for, and what came of it.
type RotationRequest struct {
	SecretARN string    `json:"secretArn"`
	ID        string    `json:"id"` // of the event or of the operator's request: the same one may come again
	Actor     string    `json:"actor"`
	Reason    string    `json:"reason"`
	VersionID string    `json:"versionId"`         // of the rotation that it is to start
	Refused   string    `json:"refused,omitempty"` // why none was started
	At        time.Time `json:"at"`                // AWS time
	AtSecond  int64     `json:"atSecond"`          // the same, which the window's condition compares
	ExpiresAt int64     `json:"expiresAt"`
}

// ErrWindowHeld is returned by ClaimWindow while another request's window lasts.
var ErrWindowHeld = errors.New("another request has started a rotation")

func (r RotationRequest) stamped() RotationRequest {
	r.AtSecond, r.ExpiresAt = epoch(r.At), epoch(r.At.Add(requestLifetime))
	return r
}

func windowKey(secretARN string) key { return key{pk: requestPrefix + secretARN, sk: windowSort} }

func requestKey(secretARN, id string) key {
	return key{pk: requestPrefix + secretARN, sk: requestSort + id}
}

// ClaimWindow makes r the one request that may start a rotation of its secret within window of r.At. It gives
// the request that holds the window now: r itself, also where a repetition finds that it has been claimed for
// it before, or with ErrWindowHeld the other one.
func (c *Client) ClaimWindow(ctx context.Context, r RotationRequest, window time.Duration) (RotationRequest, error) {
	var holder RotationRequest
	err := c.put(ctx, windowKey(r.SecretARN), r.stamped(), condition{
		expression: "attribute_not_exists(pk) OR #at <= :since",
		names:      map[string]string{"#at": "atSecond"},
		values:     map[string]types.AttributeValue{":since": number(epoch(r.At.Add(-window)))},
	}, &holder)
	switch {
	case err == nil:
		return r, nil
	case !errors.Is(err, ErrStale):
		return RotationRequest{}, err
	case holder.ID == r.ID:
		return holder, nil
	}
	return holder, ErrWindowHeld
}

// ReleaseWindow gives back the window of a request that has started nothing. One that is another request's
// is left alone.
func (c *Client) ReleaseWindow(ctx context.Context, r RotationRequest) error {
	if err := c.deleteOwn(ctx, windowKey(r.SecretARN), "id", r.ID); err != nil {
		return fmt.Errorf("releasing the window of request %q: %w", r.ID, err)
	}
	return nil
}

// LastRequest is the request that started a rotation of the secret last; false if none is known.
func (c *Client) LastRequest(ctx context.Context, secretARN string) (RotationRequest, bool, error) {
	var r RotationRequest
	found, err := c.get(ctx, windowKey(secretARN), true, &r)
	return r, found, err
}

// PutRequest records what came of r.
func (c *Client) PutRequest(ctx context.Context, r RotationRequest) error {
	return c.put(ctx, requestKey(r.SecretARN, r.ID), r.stamped(), condition{}, nil)
}

// Request is the record of the request with that id; false if it is not known.
func (c *Client) Request(ctx context.Context, secretARN, id string) (RotationRequest, bool, error) {
	var r RotationRequest
	found, err := c.get(ctx, requestKey(secretARN, id), true, &r)
	return r, found, err
}
