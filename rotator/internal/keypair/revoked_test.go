package keypair_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

func TestRevokedKeysStayWithTheSecret(t *testing.T) {
	old, stolen, pair := generate(t, keypair.ED25519), generate(t, keypair.ED25519), generate(t, keypair.ED25519)
	old, err := keypair.Decode([]byte(strings.Replace(must(t, old), "{", `{"Other":1,`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	pair, err = pair.WithMembersOf(old).Revoking([]string{stolen.Fingerprint(), pair.Fingerprint(), stolen.Fingerprint()})
	if err != nil {
		t.Fatal(err)
	}
	value := must(t, pair)
	if !strings.Contains(value, `"Other":1`) || old.Revoked() != nil {
		t.Error("another member was lost, or the old pair has changed")
	}
	back, err := keypair.Decode([]byte(value))
	if err != nil {
		t.Fatal(err)
	}
	next, err := generate(t, keypair.ED25519).WithMembersOf(back).Revoking([]string{old.Fingerprint()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{old.Fingerprint(), stolen.Fingerprint()}, next.Revoked()); diff != "" {
		t.Errorf("revoked (-want +got):\n%s", diff)
	}
	if !back.Revokes(stolen.Fingerprint()) || back.Revokes(back.Fingerprint()) || back.Revokes("") {
		t.Errorf("read back as revoked: %v", back.Revoked())
	}
}

func must(t *testing.T, p keypair.Pair) string {
	t.Helper()
	value, err := p.Encode("v")
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestTheListOfRevokedKeysForgetsTheOldestOnly(t *testing.T) {
	pair := generate(t, keypair.ED25519)
	var all []string
	for i := range 70 {
		f := fmt.Sprintf("SHA256:%043d", i)
		all = append([]string{f}, all...)
		next, err := pair.Revoking([]string{f})
		if err != nil {
			t.Fatal(err)
		}
		pair = next
	}
	if !slices.Equal(pair.Revoked(), all[:64]) {
		t.Errorf("revoked: %v", pair.Revoked())
	}
	if _, err := keypair.Decode([]byte(must(t, pair))); err != nil {
		t.Error(err)
	}
}

func TestADamagedListOfRevokedKeysIsRefused(t *testing.T) {
	value := must(t, generate(t, keypair.ED25519))
	for _, list := range []string{`"x"`, `{}`, `["x"]`, `[1]`, `["MD5:` + strings.Repeat("a", 45) + `"]`} {
		bad := strings.Replace(value, "{", `{"RotateSSHRevoked":`+list+`,`, 1)
		if pair, err := keypair.Decode([]byte(bad)); err == nil {
			t.Errorf("%s was read as %v", list, pair.Revoked())
		}
	}
}
