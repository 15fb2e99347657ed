package main

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

func TestStatusOnDiskFollowsTheNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reporter{dir: t.TempDir(), log: zap.NewNop()}
		onDisk := func() keysync.Status {
			t.Helper()
			var s keysync.Status
			if err := state.ReadStatus(r.dir, &s); err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := keysync.Status{Generation: 1, Outcome: ledger.Applied, UpdatedAt: time.Now()}
		r.Report(s)
		if got := onDisk(); got.Generation != 1 {
			t.Errorf("%+v", got)
		}
		time.Sleep(2 * time.Second)
		s.UpdatedAt = time.Now()
		r.Report(s)
		if got := onDisk(); got.UpdatedAt.Equal(s.UpdatedAt) {
			t.Error("written though nothing is new")
		}
		s.Generation = 2
		r.Report(s)
		if got := onDisk(); got.Generation != 2 {
			t.Errorf("news are not written: %+v", got)
		}
		s.Failures = 1
		r.Report(s)
		if got := onDisk(); got.Failures != 1 {
			t.Errorf("a first failure is not written: %+v", got)
		}
		time.Sleep(rewriteAfter)
		s.Failures = 15
		r.Report(s)
		if got := onDisk(); got.Failures != 15 {
			t.Errorf("an old status is not written again: %+v", got)
		}
	})
}

func TestStatusThatCannotBeWrittenIsLoggedOnce(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := &reporter{dir: dir, log: zap.New(core)}
	for generation := range 3 {
		r.Report(keysync.Status{Generation: int64(generation)})
	}
	if logs.Len() != 1 {
		t.Errorf("logged %d times", logs.Len())
	}
}

func TestHeadline(t *testing.T) {
	for want, s := range map[string]keysync.Status{
		"waiting: nothing has been published yet":  {},
		"no keyset is in force: keyset-denied":     {Code: "keyset-denied", Outcome: ledger.Failed},
		"generation 3: no-space":                   {Generation: 3, Code: "no-space", Outcome: ledger.Failed},
		"generation 3 applied (pending)":           {Generation: 3, Phase: keyset.PhasePending, Outcome: ledger.Applied},
		"generation 3 applied (steady), but: gone": {Generation: 3, Phase: keyset.PhaseSteady, Outcome: ledger.Applied, Failures: 2, LastError: "gone"},
	} {
		if got := headline(s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
