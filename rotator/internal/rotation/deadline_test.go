package rotation

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestWaitingEndsBeforeTheFunctionsDeadline(t *testing.T) {
	r := New(Parts{Policy: Policy{GateMargin: 20 * time.Second}, Log: zap.NewNop()})
	for _, c := range []struct{ left, want time.Duration }{
		{15 * time.Minute, 15*time.Minute - 20*time.Second},
		{80 * time.Second, time.Minute},
		{8 * time.Second, 6 * time.Second},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), c.left)
		defer cancel()
		if got := time.Until(r.giveUp(ctx)); got > c.want || got < c.want-5*time.Second {
			t.Errorf("with %v left, waiting ends in %v, want %v", c.left, got, c.want)
		}
	}
	if got := time.Until(r.giveUp(t.Context())); got > patience || got < patience/2 {
		t.Errorf("without a deadline, waiting ends in %v", got)
	}
}
