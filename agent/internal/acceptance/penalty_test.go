package acceptance

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/keyset"
)

// askInARow asks for two accepted keys again and again, as a busy agent would, and lets somebody else log in
// in between; at last it asks for a key that is refused.
func askInARow(t *testing.T, server *sshdtest.Server, passes int) {
	t.Helper()
	user := sshdtest.User(t)
	current, pending, retired := sshdtest.NewPair(t), sshdtest.NewPair(t), sshdtest.NewPair(t)
	server.Allow(t, user, current.Public.String(), pending.Public.String())
	a := asker(server)
	q := Question{User: user, Accept: []keyset.PublicKey{current.Public, pending.Public}}
	for pass := range passes {
		got, err := a.Ask(t.Context(), q)
		if err != nil || accepted(got) != "yes yes" {
			t.Fatalf("pass %d: answers are %+v, error %v\n%s", pass, got.Answers, err, server.Stop())
		}
		if pass%10 != 0 {
			continue
		}
		if _, err := server.LogIn(user, current, "true"); err != nil {
			t.Fatalf("pass %d: another log-in: %v\n%s", pass, err, server.Stop())
		}
	}
	q.Refuse = retired.Public
	if got, err := a.Ask(t.Context(), q); err != nil || accepted(got) != "yes yes no" {
		t.Errorf("answers are %+v, error %v", got.Answers, err)
	}
	log := server.Stop()
	for _, bad := range []string{"drop connection", "activating", "new active penalty", "beginning MaxStartups"} {
		if strings.Contains(log, bad) {
			t.Errorf("sshd's log says %q", bad)
		}
	}
}

func TestAskingOftenDisturbsNobody(t *testing.T) {
	askInARow(t, sshdtest.Start(t), 20)
}

func TestAskingOftenDisturbsNobodyUnderPenalties(t *testing.T) {
	sshdtest.NeedForeign(t)
	askInARow(t, sshdtest.Start(t), 100)
}

// The control for the test above: this sshd does punish an address.
func TestAskIsNotHitByPenaltiesOfOthers(t *testing.T) {
	sshdtest.NeedForeign(t)
	user := sshdtest.User(t)
	server := sshdtest.Start(t)
	pair := sshdtest.NewPair(t)
	server.Allow(t, user, pair.Public.String())
	punished := false
	for range 20 {
		if _, err := server.LogIn(user, sshdtest.NewPair(t), "true"); err != nil && strings.Contains(err.Error(), "EOF") {
			punished = true
			break
		}
	}
	if !punished {
		t.Fatalf("this sshd does not punish failed log-ins\n%s", server.Stop())
	}
	got, err := asker(server).Ask(t.Context(), Question{User: user, Accept: []keyset.PublicKey{pair.Public}})
	if err != nil || accepted(got) != "yes" {
		t.Errorf("answers are %+v, error %v", got.Answers, err)
	}
}

func TestAskSaysThatItIsPenalised(t *testing.T) {
	sshdtest.NeedForeign(t)
	user := sshdtest.User(t)
	server := sshdtest.Start(t, "PerSourceNetBlockSize 8:128")
	pair := sshdtest.NewPair(t)
	server.Allow(t, user, pair.Public.String())
	a := asker(server)
	for range 20 {
		got, err := a.Ask(t.Context(), Question{User: user, Accept: []keyset.PublicKey{pair.Public}})
		if err == nil {
			continue
		}
		wantUnverified(t, got, `"Not allowed at this time"`)
		return
	}
	t.Errorf("this sshd does not punish failed log-ins\n%s", server.Stop())
}

// TCP wrappers, which Debian's sshd obeys, may know 127.0.0.1 alone.
func TestAskFallsBackToUsualAddress(t *testing.T) {
	sshdtest.NeedPrivate(t)
	for name, text := range map[string]string{
		"/etc/hosts.allow": "sshd: 127.0.0.1\n",
		"/etc/hosts.deny":  "sshd: ALL\n",
	} {
		before, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		sshdtest.WriteFile(t, name, text, 0o644)
		t.Cleanup(func() { os.WriteFile(name, before, 0o644) })
	}
	user := sshdtest.User(t)
	server := sshdtest.Start(t)
	pair := sshdtest.NewPair(t)
	server.Allow(t, user, pair.Public.String())
	a := asker(server)
	for range 2 {
		got, err := a.Ask(t.Context(), Question{User: user, Accept: []keyset.PublicKey{pair.Public}})
		if err != nil || accepted(got) != "yes" {
			t.Errorf("answers are %+v, error %v", got.Answers, err)
		}
		// sshd takes five seconds to hang up: once is enough. An sshd without TCP wrappers never does.
		if got.Source == "127.0.0.1" && !a.sources.unwelcome.Load() {
			t.Error("the next question will wait again")
		}
	}
}

func TestSourcesAreApart(t *testing.T) {
	s := newSources()
	seen := make(map[string]bool)
	for range 254 {
		address := s.take()
		if !address.IsLoopback() || address.String() == "127.0.0.1" {
			t.Errorf("source is %v", address)
		}
		seen[address.String()] = true
	}
	if len(seen) != 254 {
		t.Errorf("only %d sources in 254 are different", len(seen))
	}
}
