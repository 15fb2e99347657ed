package keysync_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotatessh/rotatessh/agent/internal/config"
	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// after lets d pass and everything settle.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestRunSyncsAtStartAndAtEveryRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		a, b := newKey(t), newKey(t)
		m.secret.publish(1, current(a))
		m.run(t)
		after(0)
		if !slices.Equal(m.block(), prints(a)) {
			t.Fatal("nothing was done at the start")
		}
		m.secret.publish(2, current(a), pending(b))
		after(time.Hour)
		if m.secret.count() != 1 {
			t.Errorf("the secret was read %d times though nothing rang", m.secret.count())
		}
		m.bell.Ring(keysync.Request{Fetch: true})
		after(0)
		if !slices.Equal(m.block(), prints(a, b)) {
			t.Error("nothing was done at the ring")
		}
	})
}

func TestDriftIsRepairedWithoutReadingTheSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		k := newKey(t)
		m.disk.set(aliceFile, foreign)
		m.secret.publish(1, current(k))
		m.run(t)
		after(0)
		whole := m.disk.get(aliceFile)
		m.secret.fail(errors.New("AWS is away"))
		for name, damage := range map[string]string{"deleted": "", "edited": strings.Replace(whole, "# END", "# end", 1), "cut": whole[:len(whole)-40]} {
			m.disk.set(aliceFile, damage)
			m.bell.Ring(keysync.Request{Why: "file"})
			after(0)
			if !slices.Equal(m.block(), prints(k)) {
				t.Errorf("%s: not repaired:\n%s", name, m.disk.get(aliceFile))
			}
		}
		if m.secret.count() != 1 {
			t.Errorf("the secret was read %d times", m.secret.count())
		}
		if m.table.count() != 1 {
			t.Errorf("%d acknowledgements of one result", m.table.count())
		}
	})
}

func TestLastGoodKeysetStaysInForceWhileReadingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		k := newKey(t)
		m.secret.publish(1, current(k))
		m.run(t)
		after(0)
		m.secret.fail(keystore.ErrDenied)
		m.bell.Ring(keysync.Request{Fetch: true})
		after(0)
		m.disk.set(aliceFile, "")
		after(time.Hour)
		if !slices.Equal(m.block(), prints(k)) {
			t.Error("drift was not repaired")
		}
		if last := m.table.last(t); last.Code != keysync.CodeDenied || !slices.Equal(last.Users[0].Fingerprints, prints(k)) {
			t.Errorf("acknowledged %+v", last)
		}
		m.secret.publish(2, current(k))
		after(10 * time.Minute)
		if last := m.table.last(t); last.Outcome != ledger.Applied || last.Generation != 2 {
			t.Errorf("acknowledged %+v after the repair", last)
		}
	})
}

func TestRefusalStandsUntilAKeysetIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		k := newKey(t)
		m.secret.publish(5, current(k))
		m.run(t)
		after(0)
		m.secret.publish(4, current(newKey(t)))
		m.bell.Ring(keysync.Request{Fetch: true})
		after(0)
		m.disk.set(aliceFile, "")
		m.bell.Ring(keysync.Request{Why: "file"})
		after(0)
		if last := m.table.last(t); last.Code != keysync.CodeLower || m.table.count() != 2 || m.reports.last().Failures != 2 {
			t.Errorf("acknowledged %d times, last %+v", m.table.count(), last)
		}
		if !slices.Equal(m.block(), prints(k)) {
			t.Error("drift was not repaired")
		}
	})
}

func TestFailedPassesBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.secret.fail(errors.New("away"))
		m.run(t)
		after(24 * time.Hour)
		times := m.secret.fetches
		if n := len(times); n < 24*12 || n > 24*24+20 {
			t.Errorf("%d reads in a day", n)
		}
		for i := 1; i < len(times); i++ {
			gap := times[i].Sub(times[i-1])
			limit := min(time.Second<<min(i-1, 20), 5*time.Minute)
			if gap < limit/2 || gap > limit {
				t.Fatalf("gap %d is %v, want between half of %v and it", i, gap, limit)
			}
		}
		if s := m.reports.last(); s.Failures != len(times) || !s.LastSuccess.IsZero() || s.Healthy(time.Now(), time.Hour) {
			t.Errorf("status %+v", s)
		}

		// One success and the next failure is tried again at once.
		m.secret.publish(1, current(newKey(t)))
		after(6 * time.Minute)
		if s := m.reports.last(); s.Failures != 0 || !s.Healthy(time.Now(), time.Hour) {
			t.Errorf("status after the repair %+v", s)
		}
		m.secret.fail(errors.New("away"))
		before := m.secret.count()
		m.bell.Ring(keysync.Request{Fetch: true})
		after(3 * time.Second)
		if n := m.secret.count() - before; n < 3 {
			t.Errorf("%d reads in the three seconds after a new failure", n)
		}
	})
}

// A program that changes the file all the time must neither make the agent read the secret all the time nor keep it from doing so.
func TestRingsDoNotDisturbTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.secret.publish(1, current(newKey(t)))
		m.run(t)
		after(0)
		m.secret.fail(errors.New("away"))
		m.bell.Ring(keysync.Request{Fetch: true})
		after(0)
		before := m.secret.count()
		for range 2 * 1200 {
			m.disk.set(aliceFile, "")
			m.bell.Ring(keysync.Request{Why: "file"})
			after(500 * time.Millisecond)
		}
		if n := m.secret.count() - before; n < 7 || n > 25 {
			t.Errorf("%d reads in twenty minutes", n)
		}
		if m.disk.writes < 2300 {
			t.Errorf("%d repairs", m.disk.writes)
		}
		if s := m.reports.last(); s.Failures == 0 || s.Code != keysync.CodeUnreachable {
			t.Errorf("a repair hides that the secret cannot be read: %+v", s)
		}
	})
}

func TestGenerationIsSavedAsSoonAsItCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		blocker := filepath.Join(m.stateDir, ".generations.json.tmp")
		if err := os.Mkdir(blocker, 0o700); err != nil {
			t.Fatal(err)
		}
		m.secret.publish(5, current(newKey(t)))
		m.run(t)
		after(time.Minute)
		if m.reports.last().Failures == 0 {
			t.Error("passes that cannot save the generation count as success")
		}
		if err := os.Remove(blocker); err != nil {
			t.Fatal(err)
		}
		after(5 * time.Minute)
		memory, err := state.OpenMemory(m.stateDir, workerARN)
		if err != nil {
			t.Fatal(err)
		}
		if seen, _ := memory.Highest(keysetARN); seen.Generation != 5 || m.reports.last().Failures != 0 || m.secret.count() != 1 {
			t.Errorf("saved %+v after %d reads", seen, m.secret.count())
		}
	})
}

func TestFailedWriteIsTriedAgainWithoutReadingTheSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		k := newKey(t)
		m.secret.publish(1, current(k))
		m.disk.errs[aliceFile] = &codedError{"no-space"}
		m.run(t)
		after(time.Minute)
		if last := m.table.last(t); last.Code != "no-space" || last.Outcome != ledger.Failed {
			t.Errorf("acknowledged %+v", last)
		}
		m.disk.mu.Lock()
		delete(m.disk.errs, aliceFile)
		m.disk.mu.Unlock()
		after(5 * time.Minute)
		if last := m.table.last(t); last.Outcome != ledger.Applied || !slices.Equal(last.Users[0].Fingerprints, prints(k)) {
			t.Errorf("acknowledged %+v", last)
		}
		if m.secret.count() != 1 {
			t.Errorf("the secret was read %d times", m.secret.count())
		}
	})
}

func TestFailedAcknowledgementIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		k := newKey(t)
		m.table.err = errors.New("throttled")
		m.secret.publish(1, current(k))
		m.run(t)
		after(time.Minute)
		if !slices.Equal(m.block(), prints(k)) {
			t.Error("the file waits for the ledger")
		}
		if m.reports.last().Failures == 0 {
			t.Error("a pass that was not acknowledged counts as success")
		}
		m.table.mu.Lock()
		m.table.err = nil
		m.table.mu.Unlock()
		after(5 * time.Minute)
		if m.table.count() != 1 || m.table.last(t).Pass != 1 {
			t.Errorf("%d acknowledgements", m.table.count())
		}
	})
}

func TestAcknowledgesOnChangeAndOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.secret.publish(1, current(newKey(t)))
		m.run(t)
		after(0)
		applied := m.table.last(t).AppliedAt
		for range 12 * 7 {
			after(2 * time.Hour)
			m.bell.Ring(keysync.Request{Full: true})
		}
		after(time.Minute)
		if n := m.table.count(); n != 8 {
			t.Errorf("%d acknowledgements in seven days, want 8", n)
		}
		last := m.table.last(t)
		if !last.AppliedAt.Equal(applied) {
			t.Errorf("a renewal moved appliedAt from %v to %v", applied, last.AppliedAt)
		}
		if age := m.awsNow().Sub(last.ReportedAt); age > 25*time.Hour || last.ExpiresAt != last.ReportedAt.Add(7*24*time.Hour).Unix() {
			t.Errorf("reported %v ago, expires at %d", age, last.ExpiresAt)
		}
	})
}

func TestRenewalNeedsNoRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.secret.publish(1, current(newKey(t)))
		m.run(t)
		after(49 * time.Hour)
		if n := m.table.count(); n != 3 {
			t.Errorf("%d acknowledgements in 49 hours, want 3", n)
		}
	})
}

// The reason why sshd gives no answer may name a port or a time; that is no other result.
func TestAnnouncedGenerationIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		a, b := newKey(t), newKey(t)
		m.secret.publish(1, current(a))
		m.run(t)
		after(0)
		old := m.secret.keyset
		m.secret.publish(2, current(a), pending(b))
		m.secret.lags = append(m.secret.lags, old, old, old)
		m.bell.Ring(keysync.Request{Fetch: true, Generation: 2})
		after(4 * time.Second)
		if !slices.Equal(m.block(), prints(a, b)) {
			t.Errorf("block %v after %d reads", m.block(), m.secret.count())
		}
		if n := m.secret.count(); n != 5 {
			t.Errorf("%d reads, want 5", n)
		}
	})
}

func TestForgedAnnouncementCostsAFewReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		k := newKey(t)
		m.secret.publish(1, current(k))
		m.run(t)
		after(0)
		m.bell.Ring(keysync.Request{Fetch: true, Generation: 1 << 50})
		after(time.Hour)
		if n := m.secret.count(); n > 8 {
			t.Errorf("%d reads", n)
		}
		if s := m.reports.last(); s.Failures != 0 || s.Generation != 1 || m.table.count() != 1 {
			t.Errorf("status %+v, %d acknowledgements", s, m.table.count())
		}
	})
}

func TestStopFinishesThePassInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		k := newKey(t)
		m.secret.publish(1, current(k))
		writing := make(chan struct{})
		m.disk.onWrite = func(string) {
			close(writing)
			time.Sleep(3 * time.Second)
		}
		stop := m.run(t)
		<-writing
		begun := time.Now()
		stop()
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("the stop took %v", took)
		}
		if !slices.Equal(m.block(), prints(k)) || m.table.last(t).Outcome != ledger.Applied {
			t.Error("the pass was torn")
		}
	})
}

func TestStopBreaksOffAReadThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.Source = hanging{}
		stop := m.run(t)
		after(time.Second)
		begun := time.Now()
		stop()
		if took := time.Since(begun); took != 0 {
			t.Errorf("the stop took %v", took)
		}
	})
}

// hanging is a secret whose endpoint never answers.
type hanging struct{}

func (hanging) Fetch(ctx context.Context) (keystore.Document, error) {
	<-ctx.Done()
	return keystore.Document{}, ctx.Err()
}

func TestBeatsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.cfg.BeatEvery = 10 * time.Second
		m.restart(t)
		m.secret.publish(1, current(newKey(t)))
		m.run(t)
		after(time.Minute)
		if m.reports.beats < 5 || m.reports.count() != 1 {
			t.Errorf("%d beats, %d passes in a minute", m.reports.beats, m.reports.count())
		}
	})
}

func TestUsersAreIndependentInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.cfg.Users = []config.User{{Name: "ghost"}, {Name: "alice"}}
		m.restart(t)
		k := newKey(t)
		m.secret.publish(1, current(k))
		m.run(t)
		after(0)
		m.accounts.add("ghost", "/home/ghost")
		after(5 * time.Minute)
		if last := m.table.last(t); last.Outcome != ledger.Applied || len(last.Users) != 2 {
			t.Errorf("acknowledged %+v", last)
		}
	})
}
