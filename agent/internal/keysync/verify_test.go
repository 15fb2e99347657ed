package keysync_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/common/ledger"
)

func TestRingWithNothingToDoDoesNotAskSSHD(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.secret.publish(1, current(newKey(t)))
		m.run(t)
		after(0)
		for range 5 {
			m.bell.Ring(keysync.Request{Why: "file"})
			after(0)
		}
		if n := len(m.server.asked); n != 1 {
			t.Errorf("sshd was asked %d times, want 1", n)
		}
		m.disk.set(aliceFile, "# a new line\n"+m.disk.get(aliceFile))
		m.bell.Ring(keysync.Request{Why: "file"})
		after(0)
		m.bell.Ring(keysync.Request{Full: true})
		after(0)
		if n := len(m.server.asked); n != 3 {
			t.Errorf("sshd was asked %d times, want 3: after a change of the file and at a full check", n)
		}
	})
}

func TestSSHDThatIsNotListeningYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		k := newKey(t)
		m.server.down = true
		m.secret.publish(1, current(k))
		m.run(t)
		after(10 * time.Second)
		if !slices.Equal(m.block(), prints(k)) {
			t.Error("the file waits for sshd")
		}
		if m.table.count() != 0 {
			t.Errorf("acknowledged %+v", m.table.last(t))
		}
		m.server.do(func() { m.server.down = false })
		after(2 * time.Second)
		if m.table.count() != 1 || answers(m.table.last(t).Users[0])["current "+k.Fingerprint()] != ledger.Yes {
			t.Errorf("%d acknowledgements 2s after sshd listens", m.table.count())
		}
		if m.secret.count() != 1 {
			t.Errorf("the secret was read %d times", m.secret.count())
		}
	})
}

func TestSSHDThatIsNotListeningYetIsNoErrorAtBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		core, logs := observer.New(zap.WarnLevel)
		m.log = zap.New(core)
		m.restart(t)
		m.server.down = true
		m.secret.publish(1, current(newKey(t)))
		m.run(t)
		after(20 * time.Second)
		if all := logs.All(); len(all) == 0 || slices.ContainsFunc(all, func(e observer.LoggedEntry) bool { return e.Level > zap.WarnLevel }) {
			t.Errorf("in the first 20 seconds: %+v", all)
		}
		after(10 * time.Minute)
		if logs.FilterLevelExact(zap.ErrorLevel).Len() == 0 {
			t.Error("an sshd that never listens is no error")
		}
		m.disk.errs[aliceFile] = errors.New("disk on fire")
		m.restart(t)
		logs.TakeAll()
		m.run(t)
		after(0)
		if logs.FilterLevelExact(zap.ErrorLevel).Len() == 0 {
			t.Error("a file that cannot be written is no error while sshd is down")
		}
	})
}

func TestSSHDThatNeverListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		k := newKey(t)
		m.server.down = true
		m.secret.publish(1, current(k))
		m.run(t)
		after(10 * time.Minute)
		last := m.table.last(t)
		if last.Outcome != ledger.Applied || answers(last.Users[0])["current "+k.Fingerprint()] != ledger.Unverified || m.table.count() != 1 {
			t.Errorf("acknowledged %d times, last %+v", m.table.count(), last)
		}
		if s := m.reports.last(); s.Failures == 0 {
			t.Error("passes that verified nothing count as success")
		}
		m.server.do(func() { m.server.down = false })
		after(2 * time.Second)
		if last := m.table.last(t); answers(last.Users[0])["current "+k.Fingerprint()] != ledger.Yes {
			t.Errorf("acknowledged %+v 2s after sshd listens", last)
		}
	})
}

func TestRestartedSSHDCostsNoAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.secret.publish(1, current(newKey(t)))
		m.run(t)
		after(0)
		m.server.do(func() { m.server.down = true })
		m.bell.Ring(keysync.Request{Full: true})
		after(5 * time.Second)
		m.server.do(func() { m.server.down = false })
		after(time.Minute)
		if m.table.count() != 1 || m.reports.last().Failures != 0 {
			t.Errorf("%d acknowledgements, %d failures", m.table.count(), m.reports.last().Failures)
		}
	})
}

func TestSSHDThatDoesNotAnswerIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		k := newKey(t)
		m.server.silent = errors.New("connection closed")
		m.secret.publish(1, current(k))
		m.run(t)
		after(time.Hour)
		if n := len(m.server.asked); n < 12 || n > 40 {
			t.Errorf("asked %d times in an hour", n)
		}
		m.server.do(func() { m.server.silent = nil })
		after(5 * time.Minute)
		if last := m.table.last(t); answers(last.Users[0])["current "+k.Fingerprint()] != ledger.Yes {
			t.Errorf("acknowledged %+v", last)
		}
	})
}

func TestOtherWordsAreNoOtherResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.secret.publish(1, current(newKey(t)))
		m.run(t)
		for i := range 20 {
			m.server.do(func() { m.server.silent = fmt.Errorf("connection %d closed", i) })
			m.bell.Ring(keysync.Request{Full: true})
			after(time.Minute)
		}
		if n := m.table.count(); n > 2 {
			t.Errorf("%d acknowledgements of one result", n)
		}
	})
}

func TestRetiredKeyIsAskedAboutOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		k, gone := newKey(t), newKey(t)
		m.secret.publishRetired(2, retired(gone), current(k))
		m.run(t)
		after(time.Minute)
		for range 36 { // three days of full checks
			m.bell.Ring(keysync.Request{Full: true})
			after(2 * time.Hour)
		}
		var refusals int
		for _, q := range m.server.questions {
			if !q.Refuse.IsZero() {
				refusals++
			}
		}
		if refusals < 3 || refusals > 4 || len(m.server.questions) != 37 {
			t.Errorf("%d questions about the retired key among %d in three days", refusals, len(m.server.questions))
		}
		sameAnswers(t, m.table.last(t).Users[0], map[string]ledger.Accepted{
			"current " + k.Fingerprint(): ledger.Yes, "retired " + gone.Fingerprint(): ledger.No,
		})
	})
}

func TestNewlyRetiredKeyIsAskedAboutAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		k, gone, goneToo := newKey(t), newKey(t), newKey(t)
		m.secret.publishRetired(2, retired(gone), current(k))
		m.run(t)
		after(time.Minute)
		m.secret.publishRetired(3, append(retired(goneToo), retired(gone)...), current(k))
		m.bell.Ring(keysync.Request{Fetch: true})
		after(0)
		last := m.server.questions[len(m.server.questions)-1]
		if last.Refuse.Fingerprint() != goneToo.Fingerprint() {
			t.Errorf("asked about %q", last.Refuse.Fingerprint())
		}
	})
}
