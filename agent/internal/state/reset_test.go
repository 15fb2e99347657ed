package state_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/agent/internal/state"
)

func order(t *testing.T, dir string, forget map[string]state.Seen) state.Reset {
	t.Helper()
	r := state.Reset{By: "uid 0", At: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Forget: forget}
	if err := state.OrderReset(dir, r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOrderedGenerationsAreForgottenForGood(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, instance)
	if _, ordered, err := m.Take(); ordered || err != nil {
		t.Fatalf("without an order: %v, %v", ordered, err)
	}
	other := keyset + "2"
	for _, arn := range []string{keyset, other} {
		if err := m.Remember(arn, seen); err != nil {
			t.Fatal(err)
		}
	}
	_, remembered, err := state.Remembered(dir)
	if err != nil || len(remembered) != 2 {
		t.Fatalf("%v, %v", remembered, err)
	}
	want := order(t, dir, map[string]state.Seen{keyset: remembered[keyset]})
	got, ordered, err := m.Take()
	if err != nil || !ordered {
		t.Fatalf("%v, %v", ordered, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, m := range map[string]*state.Memory{"this run": m, "the next run": open(t, dir, instance)} {
		if _, ok := m.Highest(keyset); ok {
			t.Errorf("%s remembers", name)
		}
		if _, ok := m.Highest(other); !ok {
			t.Errorf("%s has forgotten another keyset", name)
		}
		if !m.Pending() {
			t.Errorf("%s does not know of the reset", name)
		}
	}
	if _, ordered, err := m.Take(); ordered || err != nil {
		t.Errorf("the order stands: %v, %v", ordered, err)
	}
	if err := m.Settle(); err != nil || m.Pending() || open(t, dir, instance).Pending() {
		t.Errorf("not settled: %v", err)
	}
}

func TestOrderAboutSomethingElseForgetsNothing(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, instance)
	if err := m.Remember(keyset, seen); err != nil {
		t.Fatal(err)
	}
	older := seen
	older.Generation--
	order(t, dir, map[string]state.Seen{keyset: older, "arn:unknown": seen})
	got, ordered, err := m.Take()
	if err != nil || !ordered || len(got.Forget) != 0 {
		t.Errorf("%+v, %v, %v", got, ordered, err)
	}
	if _, ok := m.Highest(keyset); !ok || m.Pending() {
		t.Errorf("forgotten, pending %v", m.Pending())
	}
	if _, err := os.Stat(state.ResetPath(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the order stands: %v", err)
	}
}

func TestOrderThatCannotBeCarriedOutStands(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, instance)
	if err := m.Remember(keyset, seen); err != nil {
		t.Fatal(err)
	}
	order(t, dir, map[string]state.Seen{keyset: seen})
	blocker := filepath.Join(dir, ".generations.json.tmp")
	if err := os.Mkdir(blocker, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Take(); err == nil {
		t.Error("no error")
	}
	if _, ok := m.Highest(keyset); !ok || m.Pending() {
		t.Error("forgotten in memory alone")
	}
	if err := os.Remove(blocker); err != nil {
		t.Fatal(err)
	}
	if got, _, err := m.Take(); err != nil || len(got.Forget) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.WriteFile(state.ResetPath(dir), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ordered, err := m.Take(); ordered || err == nil {
		t.Errorf("an order that cannot be read: %v, %v", ordered, err)
	}
}
