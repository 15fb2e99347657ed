package keysync

import (
	"context"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rotatessh/rotatessh/common/logging"
)

const (
	// A failed pass is tried again after firstRetry, and then after ever longer times up to lastRetry.
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	// verifyAgain is how soon sshd is asked again while it is not listening: a connection to the loopback that is refused costs
	// nothing.
	verifyAgain = 2 * time.Second
	// recheck bounds the wait for a key's end of life, and idle every wait.
	recheck = 30 * time.Second
	idle    = 7 * 24 * time.Hour
)

// Bell is what wakes Run. Rings while a pass goes on are kept, as one.
type Bell interface {
	// Rung gives a channel that delivers a value when the bell has been rung since the last Take.
	Rung() <-chan struct{}
	// Take gives what was rung for, all of it merged.
	Take() Request
}

// Run does a pass at once and then whenever the bell rings, a key's time is up, or a failed pass is due again, until ctx ends. It
// then finishes the pass in hand, for a bounded time, and returns.
func (s *Syncer) Run(ctx context.Context, bell Bell) {
	var failing backoff
	next := Request{Full: true, Why: "start"}
	for {
		out := s.pass(ctx, next)
		if ctx.Err() != nil {
			return
		}
		failing.note(out.err)
		if out.err != nil {
			s.log.Log(levelOf(s.loudness(out), failing.count), "pass failed",
				logging.Code(s.status.Code), zap.Error(out.err), zap.Int("in_a_row", failing.count))
		}
		wait := min(s.due(), failing.wait())
		if out.notListening {
			wait = min(wait, verifyAgain)
		}
		var more bool
		if next, more = s.await(ctx, bell, wait); !more {
			return
		}
		next.Fetch = next.Fetch || s.failures > 0 && failing.due()
	}
}

// loudness is the level for a failed pass. At boot the files are there before sshd listens, as they should be.
func (s *Syncer) loudness(out outcome) zapcore.Level {
	if out.waiting && time.Since(s.waiting) < patience {
		return zap.WarnLevel
	}
	return zap.ErrorLevel
}

// backoff is when to try again after failures in a row. A pass that something else has caused in between does not put that off.
type backoff struct {
	count int
	at    time.Time
}

func (b *backoff) note(err error) {
	switch {
	case err == nil:
		*b = backoff{}
	case b.due():
		b.at = time.Now().Add(jitter(min(firstRetry<<min(b.count, 16), lastRetry)))
		b.count++
	}
}

// due reports whether it is time; it always is when nothing has failed.
func (b *backoff) due() bool { return !time.Now().Before(b.at) }

func (b *backoff) wait() time.Duration {
	if b.count == 0 {
		return idle
	}
	return time.Until(b.at)
}

// await waits until the next pass and says what it is to do; false means that ctx has ended.
func (s *Syncer) await(ctx context.Context, bell Bell, wait time.Duration) (Request, bool) {
	timer := time.NewTimer(max(wait, 0))
	defer timer.Stop()
	beat, stop := s.beats()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return Request{}, false
		case <-timer.C:
			return Request{Why: "due"}, true
		case <-bell.Rung():
			return bell.Take(), true
		case <-beat:
			s.Reporter.Alive()
		}
	}
}

func (s *Syncer) beats() (<-chan time.Time, func()) {
	if s.cfg.BeatEvery <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(s.cfg.BeatEvery)
	return t.C, t.Stop
}
