package account

import (
	"context"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// script writes a program that stands in for getent.
func script(t *testing.T, body string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "getent")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{path}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLookupFindsWhoeverRunsTheTest(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skipf("not run: the current user is not in the user database: %v", err)
	}
	got, err := Lookup(t.Context(), me.Username)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != me.Username || strconv.Itoa(got.UID) != me.Uid || strconv.Itoa(got.GID) != me.Gid || got.Home != filepath.Clean(me.HomeDir) {
		t.Errorf("account %+v, user %+v", got, me)
	}
}

func TestLookupKnowsThatThereIsNoSuchUser(t *testing.T) {
	for _, name := range []string{"no-such-user-here", "0", "00"} {
		if got, err := Lookup(t.Context(), name); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: account %+v, error %v", name, got, err)
		}
	}
}

func TestLookupReadsTheAnswer(t *testing.T) {
	s := source{getent: script(t, `[ "$#" = 2 ] && [ "$1" = passwd ] && printf "%s:x:4242:4343:A B,,,:/home/./x/:/bin/sh\n" "$2"`)}
	got, err := s.lookup(t.Context(), `CORP\alice@example.com`)
	if err != nil {
		t.Fatal(err)
	}
	want := Account{Name: `CORP\alice@example.com`, UID: 4242, GID: 4343, Home: "/home/x", Shell: "/bin/sh"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("account (-want +got):\n%s", diff)
	}
}

func TestLookupDoesNotTakeTroubleForAbsence(t *testing.T) {
	for name, body := range map[string]string{
		"database unavailable": "echo no ldap >&2; exit 1",
		"crash":                "kill -9 $$",
		"nothing":              "exit 0",
		"not an entry":         "echo root:x:0",
		"two entries":          "echo u:x:1:1::/a:; echo u:x:2:2::/b:",
		"negative id":          "echo u:x:-2:1::/a:",
		"no id":                "echo u:x:1:4294967295::/a:",
		"huge id":              "echo u:x:4294967296:1::/a:",
		"relative home":        "echo u:x:1:1::a:",
		"empty home":           "echo u:x:1:1:::",
	} {
		got, err := source{getent: script(t, body)}.lookup(t.Context(), "u")
		if err == nil || errors.Is(err, ErrUnknown) {
			t.Errorf("%s: account %+v, error %v", name, got, err)
		}
	}
}

func TestLookupSaysWhatGetentComplainedAbout(t *testing.T) {
	_, err := source{getent: script(t, "echo cannot reach ldap.example.com >&2; exit 1")}.lookup(t.Context(), "u")
	if err == nil || !strings.Contains(err.Error(), "cannot reach ldap.example.com") {
		t.Errorf("error %v", err)
	}
}

func TestLookupEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s := source{getent: script(t, "sleep 3 & wait")} // a child that keeps the pipe open
	if _, err := s.lookup(ctx, "u"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnknown) {
		t.Errorf("error %v", err)
	}
}

func TestLookupBoundsTheAnswer(t *testing.T) {
	_, err := source{getent: script(t, "head -c 10000000 /dev/zero")}.lookup(t.Context(), "u")
	if err == nil || len(err.Error()) > 4096 {
		t.Errorf("error of %d bytes", len(err.Error()))
	}
}

func TestLookupFallsBackToTheFile(t *testing.T) {
	s := source{getent: []string{"/no/such/getent"}, passwd: file(t, "root:x:0:0::/root:/bin/sh\nub:x:7:8::/ub:\nu:x:5:6::/u:/bin/sh\n")}
	got, err := s.lookup(t.Context(), "u")
	if err != nil {
		t.Fatal(err)
	}
	if want := (Account{Name: "u", UID: 5, GID: 6, Home: "/u", Shell: "/bin/sh"}); got != want {
		t.Errorf("account %+v", got)
	}
	if _, err := s.lookup(t.Context(), "v"); !errors.Is(err, ErrUnknown) {
		t.Errorf("error %v", err)
	}
	s.passwd = filepath.Join(t.TempDir(), "missing")
	if _, err := s.lookup(t.Context(), "u"); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("without any database: %v", err)
	}
}

func TestLookupRefusesWhatIsNoName(t *testing.T) {
	s := source{getent: script(t, "touch ran; echo u:x:1:1::/a:"), passwd: "/etc/passwd"}
	for _, name := range []string{"", "-v", "a b", "a:b", "a/b", "..", "a\nb", "a\x00", "\xff", strings.Repeat("a", 257)} {
		if _, err := s.lookup(t.Context(), name); err == nil || !strings.Contains(err.Error(), "not a user name") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := s.lookup(t.Context(), "v"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), `"u"`) {
		t.Errorf("an answer about somebody else: %v", err)
	}
}
