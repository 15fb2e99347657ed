package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/rotator/internal/report"
)

// followFlags are those of watching.
type followFlags struct {
	watch, keepGoing bool
	timeout          time.Duration
}

func (f *followFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.watch, "watch", false, "follow the rotation until nothing of it is left to do")
	c.Flags().DurationVar(&f.timeout, "timeout", time.Hour, "with --watch: give up after this `duration`")
	c.Flags().BoolVar(&f.keepGoing, "keep-going", false, "with --watch: go on over failed steps, which AWS repeats")
}

func (f *followFlags) validate(c *cobra.Command) error {
	if f.timeout <= 0 {
		return usagef("--timeout is %v and must be positive", f.timeout)
	}
	for _, flag := range []string{"timeout", "keep-going"} {
		if c.Flags().Changed(flag) && !f.watch {
			return withHint(usagef("--%s is for --watch", flag), "add --watch")
		}
	}
	return nil
}

// shower shows one look after another.
type shower interface {
	show(r report.Report, elapsed time.Duration) error
}

// run looks again and again, until the rotation has come to its end or the time is over.
func (f *followFlags) run(ctx context.Context, look func(context.Context) (report.Report, error), view shower) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("not steady after %v", f.timeout))
	defer cancel()
	follower := report.Follower{KeepGoing: f.keepGoing}
	last, start := report.Report{}, time.Now()
	for failed := 0; ; {
		r, err := look(ctx)
		switch {
		case ctx.Err() != nil:
			return unsettled(ctx, last)
		case err != nil:
			if failed++; failed == troubles || last.At.IsZero() {
				return err
			}
		default:
			failed, last = 0, r
			if err := view.show(r, time.Since(start)); err != nil {
				return err
			}
			if done, err := follower.Next(r); done || err != nil {
				return hintFollow(err)
			}
		}
		select {
		case <-ctx.Done():
			return unsettled(ctx, last)
		case <-time.After(min(pollEvery+time.Duration(len(last.Workers))*perWorker, pollSlowest)):
		}
	}
}

// unsettled says what the rotation was at when watching ended early.
func unsettled(ctx context.Context, last report.Report) error {
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = errors.New("stopped watching")
	}
	if !last.At.IsZero() {
		err = fmt.Errorf("%w: %s", err, last.Stage())
	}
	return withHint(err, "the rotation goes on without this program: see \"rotatessh report\"")
}

func hintFollow(err error) error {
	switch {
	case errors.Is(err, report.ErrFailing):
		return withHint(err, "AWS tries again: remove the cause and watch on with --keep-going, or go on at once with \"rotatessh resume\"; to give it up: \"rotatessh abort\"")
	case errors.Is(err, report.ErrGivenUp):
		return withHint(err, "\"rotatessh report\" says who asked for it; otherwise somebody cancelled it or wrote another version")
	case errors.Is(err, report.ErrNothing):
		return withHint(err, "start the first rotation with \"rotatessh rotate --wait\"")
	}
	return err
}
