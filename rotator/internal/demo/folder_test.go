package demo

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFolderIsPrivateAndLocked(t *testing.T) {
	f, err := newFolder(newStateDir(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.lock.Close()
	for _, path := range []string{f.path, filepath.Dir(f.path)} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o700 {
			t.Errorf("%s has mode %o, want 700", path, got)
		}
	}
}

func TestFolderBelowWritableFolderIsRefused(t *testing.T) {
	for _, mode := range []os.FileMode{0o777, 0o777 | os.ModeSticky, 0o770} {
		above := filepath.Join(newStateDir(t), "above")
		if err := os.Mkdir(above, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(above, mode); err != nil {
			t.Fatal(err)
		}
		_, err := newFolder(filepath.Join(above, "below"))
		var bad *FolderError
		if !errors.As(err, &bad) || bad.Path != above {
			t.Errorf("below a folder of mode %v: %v, want a FolderError about %s", mode, err, above)
		}
		left, err := os.ReadDir(above)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

func TestFolderBehindLinkIsCheckedWhereItIs(t *testing.T) {
	base := newStateDir(t)
	real := filepath.Join(base, "open", "state")
	if err := os.MkdirAll(real, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(real), 0o777); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	var bad *FolderError
	if _, err := newFolder(link); !errors.As(err, &bad) {
		t.Errorf("a link to below a world-writable folder: %v, want a FolderError", err)
	}
}

func TestLeftOverFoldersAreSweptAndUsedOnesAreNot(t *testing.T) {
	state := newStateDir(t)
	used, err := newFolder(state)
	if err != nil {
		t.Fatal(err)
	}
	defer used.lock.Close()
	stale, err := newFolder(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stale.path, "key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	stale.lock.Close() // as the kernel does for a process that dies
	other := filepath.Join(filepath.Dir(used.path), "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	next, err := newFolder(state)
	if err != nil {
		t.Fatal(err)
	}
	defer next.lock.Close()
	if _, err := os.Stat(stale.path); !os.IsNotExist(err) {
		t.Errorf("the left-over folder is still there: %v", err)
	}
	for _, path := range []string{used.path, other} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s was swept: %v", path, err)
		}
	}
}

func TestStateFolderFollowsTheEnvironment(t *testing.T) {
	t.Setenv("HOME", "/home/somebody")
	for set, want := range map[string]string{
		"/var/state": "/var/state/rotatessh",
		"":           "/home/somebody/.local/state/rotatessh",
		"relative":   "/home/somebody/.local/state/rotatessh",
	} {
		t.Setenv("XDG_STATE_HOME", set)
		if got, err := stateDir(""); err != nil || got != want {
			t.Errorf("XDG_STATE_HOME=%q gives %q, %v, want %q", set, got, err, want)
		}
	}
}
