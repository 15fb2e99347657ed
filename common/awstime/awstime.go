// Package awstime tells the time by AWS's clock instead of the machine's own.
//
// Every answer of AWS carries a Date header. A Clock takes those and carries them on by the monotonic
// clock, so that a worker whose wall clock is wrong, or is set while the program runs, still judges an
// absolute deadline as the one who set it meant it.
package awstime

import (
	"context"
	"sync"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
)

// jitter is how far an observation may lie behind the running estimate and still be taken for the same
// clock: the Date header has whole seconds only, and an answer takes time to arrive.
const jitter = 3 * time.Second

// Clock estimates AWS's time. Its reading is a lower bound: it may lag the truth by up to a second and
// the time an answer took, but does not run ahead of it. That is the safe side for a key's end of life.
// The zero value knows no time yet. It is safe for concurrent use.
type Clock struct {
	mu     sync.Mutex
	server time.Time
	at     time.Time // local, with its monotonic reading
}

// Observe takes the Date of an answer that has just arrived.
func (c *Clock) Observe(server time.Time) {
	if server.IsZero() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.server.IsZero() {
		if lag := c.nowLocked().Sub(server); lag >= 0 && lag < jitter {
			return // the same clock, seen less precisely
		}
	}
	c.server, c.at = server.UTC(), time.Now()
}

// Now is the estimate, and false as long as nothing has been observed.
func (c *Clock) Now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.IsZero() {
		return time.Time{}, false
	}
	return c.nowLocked(), true
}

func (c *Clock) nowLocked() time.Time { return c.server.Add(time.Since(c.at)) }

// Middleware adds c's observation of every answer to an SDK client's stack; it is an element for
// aws.Config.APIOptions.
func (c *Clock) Middleware(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("ObserveServerTime",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleInitialize(ctx, in)
			if server, ok := awsmiddleware.GetServerTime(metadata); ok {
				c.Observe(server)
			}
			return out, metadata, err
		}), middleware.Before)
}
