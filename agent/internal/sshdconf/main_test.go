package sshdconf

import (
	"testing"

	"github.com/rotatessh/rotatessh/agent/internal/account"
	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
)

func TestMain(m *testing.M) { sshdtest.Main(m) }

func inspector(s *sshdtest.Server) *Inspector {
	return New(Config{Program: s.Program, File: s.Config, Address: s.Address})
}

func lookup(t *testing.T, user string) account.Account {
	t.Helper()
	a, err := account.Lookup(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
