package keysync_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// reset leaves an operator's order to forget everything.
func (m *machine) reset(t testing.TB) {
	t.Helper()
	_, seen, err := state.Remembered(m.stateDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := state.OrderReset(m.stateDir, state.Reset{By: "uid 0", At: time.Now(), Forget: seen}); err != nil {
		t.Fatal(err)
	}
}

func TestResetLetsAnOlderKeysetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		newer, older := newKey(t), newKey(t)
		m.secret.publish(7, current(newer))
		m.run(t)
		after(0)
		m.secret.publish(3, current(older))
		m.bell.Ring(keysync.Request{Fetch: true})
		after(0)
		if last := m.table.last(t); last.Code != keysync.CodeLower {
			t.Fatalf("acknowledged %+v", last)
		}
		m.reset(t)
		m.bell.Ring(keysync.Request{Why: "a file"})
		after(0)
		last := m.table.last(t)
		if last.Outcome != ledger.Applied || last.Generation != 3 || !slices.Equal(m.block(), prints(older)) {
			t.Errorf("acknowledged %+v", last)
		}
		m.secret.publish(2, current(newer))
		m.bell.Ring(keysync.Request{Fetch: true})
		after(0)
		if last := m.table.last(t); last.Code != keysync.CodeLower || last.Generation != 3 {
			t.Errorf("acknowledged %+v after one still older", last)
		}
	})
}

// While the secret cannot be read, the keyset in force stays in force, and does not creep back into memory.
func TestResetOutlastsAnUnreadableSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		newer, older := newKey(t), newKey(t)
		m.secret.publish(7, current(newer))
		stop := m.run(t)
		after(0)
		m.secret.fail(errors.New("no route"))
		m.reset(t)
		m.bell.Ring(keysync.Request{Fetch: true})
		after(10 * time.Minute)
		if !slices.Equal(m.block(), prints(newer)) || m.table.last(t).Generation != 7 {
			t.Errorf("block %v, acknowledged %+v", m.block(), m.table.last(t))
		}
		stop()
		m.restart(t)
		m.secret.publish(3, current(older))
		m.mustPass(t)
		if last := m.table.last(t); last.Outcome != ledger.Applied || last.Generation != 3 {
			t.Errorf("acknowledged %+v", last)
		}
	})
}
