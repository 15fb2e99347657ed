package state_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/agent/internal/state"
)

const (
	instance = "arn:aws:ec2:us-east-1:111122223333:instance/i-0123456789abcdef0"
	keyset   = "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh/public-GhIjKl"
)

var seen = state.Seen{Generation: 7, Digest: "d7", VersionID: "v7", SecretARN: "arn:secret"}

func open(t *testing.T, dir, instance string) *state.Memory {
	t.Helper()
	m, err := state.OpenMemory(dir, instance)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMemorySurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "when", "missing")
	m := open(t, dir, instance)
	if _, ok := m.Highest(keyset); ok {
		t.Error("something is remembered already")
	}
	if _, _, ok := m.Only(); ok {
		t.Error("one keyset is remembered already")
	}
	if err := m.Remember(keyset, seen); err != nil {
		t.Fatal(err)
	}
	m = open(t, dir, instance)
	if got, ok := m.Highest(keyset); !ok || got != seen {
		t.Errorf("%+v, %v", got, ok)
	}
	if arn, got, ok := m.Only(); !ok || arn != keyset || got != seen {
		t.Errorf("%s, %+v, %v", arn, got, ok)
	}
	if err := m.Remember(keyset+"2", seen); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := m.Only(); ok {
		t.Error("two keysets are one")
	}
}

func TestMemoryNeverGoesDown(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, instance)
	lower := seen
	lower.Generation = 6
	for _, s := range []state.Seen{seen, lower} {
		if err := m.Remember(keyset, s); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []*state.Memory{m, open(t, dir, instance)} {
		if got, _ := m.Highest(keyset); got != seen {
			t.Errorf("%+v", got)
		}
	}
}

func TestMemoryOfAnotherInstanceIsForgotten(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir, instance).Remember(keyset, seen); err != nil {
		t.Fatal(err)
	}
	other := open(t, dir, instance[:len(instance)-1]+"f")
	if got, ok := other.Highest(keyset); ok {
		t.Errorf("%+v", got)
	}
	second := state.Seen{Generation: 1, Digest: "d1"}
	if err := other.Remember(keyset, second); err != nil {
		t.Fatal(err)
	}
	if got, _ := open(t, dir, instance[:len(instance)-1]+"f").Highest(keyset); got != second {
		t.Errorf("%+v", got)
	}
}

func TestMemoryThatCannotBeReadIsNoFreshStart(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "cut": `{"instance":"`, "other": "[]"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "generations.json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := state.OpenMemory(dir, instance)
		if !errors.Is(err, state.ErrUnreadable) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "generations.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := state.OpenMemory(dir, instance); !errors.Is(err, state.ErrUnreadable) {
		t.Errorf("folder: %v", err)
	}
}

func TestMemoryThatCannotBeWrittenHoldsInTheProcess(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, instance)
	blocker := filepath.Join(dir, ".generations.json.tmp")
	if err := os.Mkdir(blocker, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := m.Remember(keyset, seen); err == nil {
		t.Fatal("no error")
	}
	if got, _ := m.Highest(keyset); got != seen {
		t.Errorf("%+v", got)
	}
	if err := m.Remember(keyset, seen); err == nil {
		t.Error("the second try is no error")
	}
	if err := os.Remove(blocker); err != nil {
		t.Fatal(err)
	}
	if err := m.Remember(keyset, seen); err != nil {
		t.Error(err)
	}
	if got, _ := open(t, dir, instance).Highest(keyset); got != seen {
		t.Errorf("%+v", got)
	}
}

func TestLeftOverTemporaryFileAndLinkDoNoHarm(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(dir, ".generations.json.tmp")
	if err := os.WriteFile(temp, []byte(strings.Repeat("x", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	m := open(t, dir, instance)
	if err := m.Remember(keyset, seen); err != nil {
		t.Fatal(err)
	}
	if got, _ := open(t, dir, instance).Highest(keyset); got != seen {
		t.Errorf("%+v", got)
	}
	if err := os.Symlink(outside, temp); err != nil {
		t.Fatal(err)
	}
	next := seen
	next.Generation = 8
	if err := m.Remember(keyset, next); err == nil {
		t.Error("a link was followed")
	}
	if data, _ := os.ReadFile(outside); string(data) != "precious" {
		t.Errorf("the link's target holds %q", data)
	}
}

func TestStatusRoundTrip(t *testing.T) {
	type status struct{ A, B string }
	dir := t.TempDir()
	var got status
	if err := state.ReadStatus(dir, &got); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before the first: %v", err)
	}
	for _, want := range []status{{"a long one, to be sure", "b"}, {"c", ""}} {
		if err := state.WriteStatus(dir, want); err != nil {
			t.Fatal(err)
		}
		if err := state.ReadStatus(dir, &got); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "status.json"))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v: every user may look at the status", info.Mode(), err)
	}
}

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	check := func(want bool) {
		t.Helper()
		if locked, err := state.Locked(dir); err != nil || locked != want {
			t.Errorf("locked %v, %v, want %v", locked, err, want)
		}
	}
	check(false)
	release, err := state.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	check(true)
	if _, err := state.Lock(dir); !errors.Is(err, state.ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	release()
	check(false)
	release, err = state.Lock(dir)
	if err != nil {
		t.Errorf("after the release: %v", err)
	}
	release()
}

// A child process does not inherit the lock, or a helper program that hangs would keep the next agent out.
func TestLockEndsWithItsProcess(t *testing.T) {
	dir := t.TempDir()
	release, err := state.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Skipf("not run: no sleep: %v", err)
	}
	defer func() { child.Process.Kill(); child.Wait() }()
	release()
	if locked, err := state.Locked(dir); err != nil || locked {
		t.Errorf("locked %v, %v", locked, err)
	}
}

func TestStateFilesAreJSONForPeople(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir, instance).Remember(keyset, seen); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "generations.json"))
	if err != nil {
		t.Fatal(err)
	}
	var content struct {
		Instance string
		Keysets  map[string]state.Seen
	}
	if err := json.Unmarshal(data, &content); err != nil || content.Instance != instance || content.Keysets[keyset] != seen {
		t.Errorf("%s: %v", data, err)
	}
}
