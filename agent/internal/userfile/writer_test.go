package userfile

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A userHome is a home with a .ssh folder and, unless content is nil, an authorized_keys in it, owned by whoever runs the test.
func userHome(t *testing.T, content []byte) Target {
	t.Helper()
	home := t.TempDir()
	target := Target{User: "u", UID: os.Geteuid(), GID: os.Getegid(), Home: home, Path: filepath.Join(home, ".ssh", "authorized_keys")}
	must(t, os.Mkdir(filepath.Dir(target.Path), 0o700))
	if content != nil {
		must(t, os.WriteFile(target.Path, content, 0o600))
	}
	return target
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func to(s string) Change { return func([]byte) ([]byte, error) { return []byte(s), nil } }

func addLine(line string) Change {
	return func(old []byte) ([]byte, error) {
		if bytes.Contains(old, []byte(line)) {
			return old, nil
		}
		return append(bytes.Clone(old), line...), nil
	}
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	must(t, err)
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", path, got, want)
	}
}

// wantNoTemps fails when a temporary file is left in the folder.
func wantNoTemps(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), TempPrefix) {
			t.Errorf("%s is left in %s", e.Name(), dir)
		}
	}
}

func wantCode(t *testing.T, err error, code Code) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want one with code %q", err, code)
	}
	if e.Code != code || e.FailureCode() != string(code) {
		t.Errorf("error %v has code %q, want %q", err, e.Code, code)
	}
	return e
}

func TestRewriteReplacesTheWholeFile(t *testing.T) {
	target := userHome(t, []byte("a long line that was there before\n"))
	before := statOf(t, target.Path)
	out, err := new(Writer).Rewrite(t.Context(), target, to("short\n"))
	must(t, err)
	if !out.Written || string(out.Bytes) != "short\n" || out.Tries != 1 {
		t.Errorf("outcome %+v", out)
	}
	wantContent(t, target.Path, "short\n")
	wantNoTemps(t, filepath.Dir(target.Path))
	if after := statOf(t, target.Path); after.Ino == before.Ino {
		t.Error("the file was changed in place instead of being replaced")
	}
}

func statOf(t testing.TB, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st
}

func TestRewriteDoesNotWriteEqualContent(t *testing.T) {
	target := userHome(t, []byte("same\n"))
	before := statOf(t, target.Path)
	out, err := new(Writer).Rewrite(t.Context(), target, to("same\n"))
	must(t, err)
	if out.Written || string(out.Bytes) != "same\n" {
		t.Errorf("outcome %+v", out)
	}
	after := statOf(t, target.Path)
	after.Atim = before.Atim // it was read
	if after != before {
		t.Error("the file was touched")
	}
}

func TestRewriteCreatesFolderAndFileForTheUser(t *testing.T) {
	target := userHome(t, nil)
	must(t, os.Remove(filepath.Dir(target.Path)))
	defer unix.Umask(unix.Umask(0o277)) // also a strange umask must not show
	out, err := new(Writer).Rewrite(t.Context(), target, to("new\n"))
	must(t, err)
	if !out.Written || string(out.Bytes) != "new\n" {
		t.Errorf("outcome %+v", out)
	}
	if st := statOf(t, target.Path); st.Mode != unix.S_IFREG|0o600 {
		t.Errorf("file has mode %o", st.Mode)
	}
	if st := statOf(t, filepath.Dir(target.Path)); st.Mode != unix.S_IFDIR|0o700 {
		t.Errorf("folder has mode %o", st.Mode)
	}
}

func TestRewriteWithoutContentCreatesNothing(t *testing.T) {
	target := userHome(t, nil)
	must(t, os.Remove(filepath.Dir(target.Path)))
	out, err := new(Writer).Rewrite(t.Context(), target, func(old []byte) ([]byte, error) {
		if old != nil {
			t.Errorf("old content %q without a file", old)
		}
		return nil, nil
	})
	if err != nil || out.Written || out.Bytes != nil {
		t.Errorf("outcome %+v, %v", out, err)
	}
	if _, err := os.Lstat(filepath.Dir(target.Path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder was made: %v", err)
	}
}

func TestRewriteKeepsTheFileWhenChangeFails(t *testing.T) {
	sorry := errors.New("sorry")
	for _, withFolder := range []bool{true, false} {
		target := userHome(t, nil)
		if withFolder {
			must(t, os.WriteFile(target.Path, []byte("old\n"), 0o600))
		} else {
			must(t, os.Remove(filepath.Dir(target.Path)))
		}
		out, err := new(Writer).Rewrite(t.Context(), target, func([]byte) ([]byte, error) { return []byte("x"), sorry })
		if !errors.Is(err, sorry) || out.Written {
			t.Errorf("outcome %+v, error %v", out, err)
		}
		if withFolder {
			wantContent(t, target.Path, "old\n")
		}
	}
}

func TestRewriteSeesAChangeBeforeTheRename(t *testing.T) {
	target := userHome(t, []byte("one\n"))
	var w Writer
	w.testOnlyBeforeCompare = func() {
		w.testOnlyBeforeCompare = nil
		appendTo(t, target.Path, "two\n")
	}
	out, err := w.Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	if out.Tries != 2 {
		t.Errorf("%d tries, want 2", out.Tries)
	}
	wantContent(t, target.Path, "one\ntwo\nours\n")
	wantNoTemps(t, filepath.Dir(target.Path))
}

func appendTo(t testing.TB, path, line string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	must(t, err)
	_, err = f.WriteString(line)
	must(t, err)
	must(t, f.Close())
}

func TestRewriteDoesNotReplaceAFileThatHasJustAppeared(t *testing.T) {
	target := userHome(t, nil)
	var w Writer
	w.testOnlyBeforeRename = func() {
		w.testOnlyBeforeRename = nil
		appendTo(t, target.Path, "theirs\n")
	}
	_, err := w.Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	wantContent(t, target.Path, "theirs\nours\n")
}

func TestRewritePutsBackWhatWasAppendedToTheOldInode(t *testing.T) {
	target := userHome(t, []byte("one\n"))
	late, err := os.OpenFile(target.Path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer late.Close()
	var w Writer
	var rounds int
	w.testOnlyAfterRename = func() {
		rounds++
		if rounds == 1 {
			_, err := late.WriteString("late\n")
			must(t, err)
		}
	}
	out, err := w.Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	if rounds != 2 || out.Tries != 1 {
		t.Errorf("%d renames, %d calls of change; want 2 and 1", rounds, out.Tries)
	}
	wantContent(t, target.Path, "one\nours\nlate\n")
}

func TestRewriteGivesUpWhenTheFileNeverRests(t *testing.T) {
	target := userHome(t, []byte("one\n"))
	w := Writer{testOnlyBeforeCompare: func() { appendTo(t, target.Path, "x\n") }}
	out, err := w.Rewrite(t.Context(), target, addLine("ours\n"))
	wantCode(t, err, Busy)
	if out.Written || out.Tries != maxTries {
		t.Errorf("outcome %+v", out)
	}
	wantContent(t, target.Path, "one\n"+strings.Repeat("x\n", maxTries))
	wantNoTemps(t, filepath.Dir(target.Path))
}

func TestRewriteStopsWithItsContext(t *testing.T) {
	target := userHome(t, []byte("one\n"))
	ctx, cancel := context.WithCancel(t.Context())
	w := Writer{testOnlyBeforeCompare: cancel}
	for range 2 { // the second time it has ended before the start
		out, err := w.Rewrite(ctx, target, to("new\n"))
		if !errors.Is(err, context.Canceled) || out.Written {
			t.Errorf("outcome %+v, error %v", out, err)
		}
	}
	wantContent(t, target.Path, "one\n")
	wantNoTemps(t, filepath.Dir(target.Path))
}

func TestRewriteWaitsForWhoeverStillWrites(t *testing.T) {
	target := userHome(t, []byte("one\n"))
	slow, err := os.OpenFile(target.Path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	var w Writer
	written := make(chan error, 1)
	w.testOnlyAfterRename = func() {
		w.testOnlyAfterRename = nil
		go func() {
			time.Sleep(3 * lingerPause)
			_, err := slow.WriteString("late\n")
			written <- errors.Join(err, slow.Close())
		}()
	}
	out, err := w.Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, errors.Join(err, <-written))
	if want := "one\nours\nlate\n"; string(out.Bytes) != want {
		t.Errorf("read back %q, want %q", out.Bytes, want)
	}
}

func TestRewriteDoesNotWaitForEver(t *testing.T) {
	target := userHome(t, []byte("one\n"))
	holder, err := os.OpenFile(target.Path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer holder.Close()
	out, err := new(Writer).Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	if want := "one\nours\n"; !out.Written || string(out.Bytes) != want {
		t.Errorf("outcome %+v", out)
	}
}

// busyWriter is a writer whose old file gets a late line, and whose file never rests once that line is to be put back.
func busyWriter(t *testing.T, target Target) *Writer {
	t.Helper()
	late, err := os.OpenFile(target.Path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	t.Cleanup(func() { late.Close() })
	w := new(Writer)
	w.testOnlyAfterRename = func() {
		w.testOnlyAfterRename = nil
		_, err := late.WriteString("late\n")
		must(t, errors.Join(err, late.Close()))
		w.testOnlyBeforeCompare = func() { appendTo(t, target.Path, "x") }
	}
	return w
}

func TestALateLineIsAppendedWhenTheFileNeverRests(t *testing.T) {
	target := userHome(t, []byte("one\n"))
	out, err := busyWriter(t, target).Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	if want := "one\nours\n" + strings.Repeat("x", maxTries) + "\nlate\n"; string(out.Bytes) != want {
		t.Errorf("read back %q, want %q", out.Bytes, want)
	}
}

func TestALateLineIsPutBackAlthoughTheContextHasEnded(t *testing.T) {
	target := userHome(t, []byte("one\n"))
	ctx, cancel := context.WithCancel(t.Context())
	w := busyWriter(t, target)
	before := w.testOnlyAfterRename
	w.testOnlyAfterRename = func() { before(); cancel(); w.testOnlyBeforeCompare = nil }
	if _, err := w.Rewrite(ctx, target, addLine("ours\n")); err != nil {
		t.Logf("afterwards: %v", err)
	}
	wantContent(t, target.Path, "one\nours\nlate\n")
}

func TestRootsFileIsNotChangedInPlace(t *testing.T) {
	target := foreignHome(t, []byte("one\n"))
	must(t, os.Lchown(target.Path, 0, 0))
	_, err := busyWriter(t, target).Rewrite(t.Context(), target, addLine("ours\n"))
	wantCode(t, err, Busy)
	wantContent(t, target.Path, "one\nours\n"+strings.Repeat("x", maxTries))
}

func TestAUserWhoKeepsAppendingToOldFilesIsNotFollowedForEver(t *testing.T) {
	target := userHome(t, []byte("one\n"))
	renames := 0
	var holder *os.File
	w := Writer{
		testOnlyBeforeRename: func() {
			var err error
			holder, err = os.OpenFile(target.Path, os.O_WRONLY|os.O_APPEND, 0)
			must(t, err)
		},
		testOnlyAfterRename: func() {
			renames++
			_, err := holder.WriteString("again\n")
			must(t, errors.Join(err, holder.Close()))
		},
	}
	_, err := w.Rewrite(t.Context(), target, addLine("ours\n"))
	must(t, err)
	if renames != maxTries+1 {
		t.Errorf("%d renames, want %d", renames, maxTries+1)
	}
	wantContent(t, target.Path, "one\nours\n"+strings.Repeat("again\n", maxTries+1))
}
