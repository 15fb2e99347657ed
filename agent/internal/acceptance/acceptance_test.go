package acceptance

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

func asker(s *sshdtest.Server) *Asker {
	return New(Config{Address: s.Address, HostKeyFiles: s.HostKeyFiles})
}

func accepted(result Result) string {
	var words []string
	for _, answer := range result.Answers {
		words = append(words, string(answer.Accepted))
	}
	return strings.Join(words, " ")
}

func TestAskTellsAcceptedFromRefused(t *testing.T) {
	for _, make := range []struct {
		name string
		pair func(testing.TB) sshdtest.Pair
	}{{"ed25519", sshdtest.NewPair}, {"rsa", sshdtest.NewRSA}, {"ecdsa", sshdtest.NewECDSA}} {
		t.Run(make.name, func(t *testing.T) {
			user := sshdtest.User(t)
			current, pending, absent, retired := make.pair(t), make.pair(t), make.pair(t), make.pair(t)
			server := sshdtest.Start(t)
			server.Allow(t, user, current.Public.String(), pending.Public.String())

			got, err := asker(server).Ask(t.Context(), Question{
				User:   user,
				Accept: []keyset.PublicKey{current.Public, absent.Public, pending.Public},
				Refuse: retired.Public,
			})
			if err != nil {
				t.Fatal(err)
			}
			want := []Answer{
				{Fingerprint: current.Public.Fingerprint(), Accepted: ledger.Yes},
				{Fingerprint: absent.Public.Fingerprint(), Accepted: ledger.No},
				{Fingerprint: pending.Public.Fingerprint(), Accepted: ledger.Yes},
				{Fingerprint: retired.Public.Fingerprint(), Accepted: ledger.No},
			}
			if diff := cmp.Diff(want, got.Answers); diff != "" {
				t.Errorf("answers (-want +got):\n%s\n%s", diff, server.Stop())
			}
		})
	}
}

func TestAskReportsServer(t *testing.T) {
	server := sshdtest.Start(t)
	got, err := asker(server).Ask(t.Context(), Question{User: sshdtest.User(t)})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got.Banner, "SSH-2.0-OpenSSH_") {
		t.Errorf("banner is %q", got.Banner)
	}
	_, port, _ := net.SplitHostPort(server.Address)
	if strconv.Itoa(got.Port) != port {
		t.Errorf("port is %d, want %s", got.Port, port)
	}
	if len(got.HostKeys) != 1 || !strings.HasPrefix(got.HostKeys[0], "ssh-ed25519 AAAA") {
		t.Errorf("host keys are %q", got.HostKeys)
	}
}

func TestAskWithoutListenerIsUnverified(t *testing.T) {
	server := sshdtest.Configure(t)
	key := sshdtest.NewPair(t)
	got, err := asker(server).Ask(t.Context(), Question{User: sshdtest.User(t), Accept: []keyset.PublicKey{key.Public}})
	if !errors.Is(err, ErrNotListening) {
		t.Errorf("error is %v, want ErrNotListening", err)
	}
	if accepted(got) != "unverified" || got.Answers[0].Why == "" {
		t.Errorf("answers are %+v, want one unverified with a reason", got.Answers)
	}
	if len(got.HostKeys) != 1 {
		t.Errorf("host keys are %q, want them although sshd is down", got.HostKeys)
	}
}
