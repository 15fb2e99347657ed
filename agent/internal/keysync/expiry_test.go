package keysync_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotatessh/rotatessh/common/ledger"
)

func TestRetiringKeyGoesWhenItsTimeIsUp(t *testing.T) {
	for name, more := range map[string]time.Duration{"by 26 years": 0, "by an hour more": time.Hour, "by an hour less": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine(t)
				m.secret.skew += more
				old, next := newKey(t), newKey(t)
				m.disk.set(aliceFile, old.String()+" appended by another\n")
				m.secret.publish(3, current(next), retiring(old, m.awsNow().Add(15*time.Minute)))
				m.run(t)
				after(15*time.Minute - time.Millisecond)
				if !slices.Equal(m.block(), prints(next, old)) {
					t.Fatalf("block before the time: %v", m.block())
				}
				sameAnswers(t, m.table.last(t).Users[0], map[string]ledger.Accepted{
					"current " + next.Fingerprint(): ledger.Yes, "retiring " + old.Fingerprint(): ledger.Yes,
				})
				after(time.Millisecond)
				if got := m.disk.get(aliceFile); strings.Contains(got, old.String()) {
					t.Errorf("the key is still there:\n%s", got)
				}
				last := m.table.last(t)
				sameAnswers(t, last.Users[0], map[string]ledger.Accepted{
					"current " + next.Fingerprint(): ledger.Yes, "retired " + old.Fingerprint(): ledger.No,
				})
				if last.Outcome != ledger.Applied || last.Generation != 3 || m.secret.count() != 1 {
					t.Errorf("acknowledged %+v after %d reads", last, m.secret.count())
				}
			})
		})
	}
}

func TestRetiringKeyStaysWhileTheTimeIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.secret.mute = true
		old, next := newKey(t), newKey(t)
		m.secret.publish(3, current(next), retiring(old, m.awsNow().Add(-time.Hour)))
		m.run(t)
		after(time.Hour)
		if !slices.Equal(m.block(), prints(next, old)) {
			t.Errorf("block %v", m.block())
		}
	})
}

func TestClockThatTurnsOutToBeAheadEndsTheWaitSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		old, next := newKey(t), newKey(t)
		m.secret.publish(3, current(next), retiring(old, m.awsNow().Add(10*time.Minute)))
		m.run(t)
		after(time.Minute)
		m.clock.Observe(m.awsNow().Add(time.Hour)) // as a beacon poll does after the machine has slept
		after(30 * time.Second)
		if !slices.Equal(m.block(), prints(next)) {
			t.Errorf("block %v", m.block())
		}
	})
}
