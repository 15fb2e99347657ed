package wake

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// rung reports whether the bell is ringing.
func rung(b *Bell) bool {
	select {
	case <-b.Rung():
		b.rung <- struct{}{} // as it was
		return true
	default:
		return false
	}
}

func TestManyRingsAreOne(t *testing.T) {
	b := NewBell()
	if rung(b) {
		t.Error("a new bell rings")
	}
	b.Ring(keysync.Request{Generation: 3, Fetch: true})
	b.Ring(keysync.Request{Full: true, Why: "later"})
	b.Ring(keysync.Request{Generation: 2, Why: "last"})
	if !rung(b) {
		t.Error("the bell is silent")
	}
	want := keysync.Request{Fetch: true, Full: true, Generation: 3, Why: "last"}
	if got := b.Take(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if rung(b) || b.Take() != (keysync.Request{}) {
		t.Error("the bell rings after it was heard")
	}
}

func TestRingWhileHearingIsKept(t *testing.T) {
	b := NewBell()
	b.Ring(keysync.Request{Fetch: true})
	<-b.Rung() // the listener has woken up and not yet taken
	b.Ring(keysync.Request{Generation: 5})
	if got := b.Take(); !got.Fetch || got.Generation != 5 {
		t.Errorf("%+v", got)
	}
	b.Ring(keysync.Request{Full: true})
	if !rung(b) || !b.Take().Full {
		t.Error("the ring after that is lost")
	}
}

func TestTimerIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := NewBell()
		done := make(chan struct{})
		go func() { Timer(ctx, b, time.Hour); close(done) }()
		waits := make(map[time.Duration]bool)
		for range 50 {
			begun := time.Now()
			<-b.Rung()
			if !b.Take().Full {
				t.Fatal("not a full check")
			}
			wait := time.Since(begun)
			if wait < 48*time.Minute || wait > 72*time.Minute {
				t.Fatalf("rang after %v", wait)
			}
			waits[wait] = true
		}
		if len(waits) < 40 {
			t.Errorf("only %d different waits of 50", len(waits))
		}
		cancel()
		<-done
	})
}

// shelf is a ledger with one beacon.
type shelf struct {
	beacon atomic.Pointer[ledger.Beacon]
	err    atomic.Pointer[error]
	reads  atomic.Int64
	secret atomic.Value
}

func (s *shelf) Beacon(_ context.Context, secretARN string) (ledger.Beacon, bool, error) {
	s.reads.Add(1)
	s.secret.Store(secretARN)
	if err := s.err.Load(); err != nil {
		return ledger.Beacon{}, false, *err
	}
	if b := s.beacon.Load(); b != nil {
		return *b, true, nil
	}
	return ledger.Beacon{}, false, nil
}

func TestBeacon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, bell := &shelf{}, NewBell()
		var known atomic.Value
		known.Store(keysync.Known{})
		core, logs := observer.New(zap.WarnLevel)
		b := &Beacon{Reader: s, Known: func() keysync.Known { return known.Load().(keysync.Known) }, Interval: time.Minute, Bell: bell, Log: zap.New(core)}
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go b.Run(ctx)
		minutes := func(n int) { time.Sleep(time.Duration(n) * time.Minute); synctest.Wait() }

		minutes(3)
		if r := bell.Take(); !r.Fetch || r.Generation != 0 || s.reads.Load() != 0 {
			t.Errorf("before the first keyset: %+v, %d reads", r, s.reads.Load())
		}
		known.Store(keysync.Known{SecretARN: "arn", Generation: 4})
		minutes(3)
		if rung(bell) && bell.Take() != (keysync.Request{}) {
			t.Error("no beacon rings the bell")
		}
		s.beacon.Store(&ledger.Beacon{Generation: 4, FleetSize: 12})
		minutes(3)
		if rung(bell) {
			t.Error("the generation that is in force rings the bell")
		}
		if s.secret.Load() != "arn" || b.FleetSize() != 12 || b.Announced() != 4 {
			t.Errorf("asked for %v, fleet size %d, announced %d", s.secret.Load(), b.FleetSize(), b.Announced())
		}
		s.beacon.Store(&ledger.Beacon{Generation: 5, FleetSize: 13})
		minutes(2)
		if r := bell.Take(); !r.Fetch || r.Full || r.Generation != 5 {
			t.Errorf("a newer generation: %+v", r)
		}
		minutes(2)
		if r := bell.Take(); r.Generation != 5 {
			t.Errorf("it is still newer, but: %+v", r)
		}
		known.Store(keysync.Known{SecretARN: "arn", Generation: 6})
		before := s.reads.Load()
		minutes(60)
		if n := s.reads.Load() - before; n < 50 || n > 75 {
			t.Errorf("%d reads an hour", n)
		}
		failure := errors.New("denied")
		s.err.Store(&failure)
		minutes(10)
		if rung(bell) || logs.Len() != 1 {
			t.Errorf("a broken beacon: %d log lines", logs.Len())
		}
		s.err.Store(nil)
		minutes(2)
		s.err.Store(&failure)
		minutes(2)
		if logs.Len() != 2 {
			t.Errorf("broken again: %d log lines", logs.Len())
		}
	})
}

func TestFirstBeaconPollComesEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		b := &Beacon{Reader: s, Known: func() keysync.Known { return keysync.Known{SecretARN: "arn"} }, Interval: time.Minute, Bell: NewBell(), Log: zap.NewNop()}
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go b.Run(ctx)
		time.Sleep(8 * time.Second)
		synctest.Wait()
		if s.reads.Load() != 1 {
			t.Errorf("%d reads in the first seconds", s.reads.Load())
		}
	})
}
