package keyset_test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
)

func TestAKeyIsTheSameInEveryForm(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []keyset.PublicKey{newKey(t), wrap(t, &private.PublicKey)} {
		parsed, err := ssh.ParsePublicKey(k.Blob())
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Type() != k.Type() || k.SSH().Type() != k.Type() || ssh.FingerprintSHA256(parsed) != k.Fingerprint() {
			t.Errorf("%s: its blob holds a key of type %s, fingerprint %s", k, parsed.Type(), ssh.FingerprintSHA256(parsed))
		}
		k.Blob()[0]++ // a copy
		if again, err := keyset.ParsePublicKey(k.String() + " comment"); err != nil || again != k {
			t.Errorf("parsed back as %v, %v", again, err)
		}
		// What a failed test or a log of everything prints is no more than the fingerprint.
		if got := fmt.Sprintf("%#v", k); !strings.Contains(got, k.Fingerprint()) || strings.Contains(got, k.String()) {
			t.Errorf("printed as %s", got)
		}
	}
}

func TestNoKeyIsEmptyInEveryForm(t *testing.T) {
	var none keyset.PublicKey
	if !none.IsZero() || none.String() != "" || none.Fingerprint() != "" || none.Type() != "" || none.SSH() != nil || len(none.Blob()) != 0 {
		t.Errorf("%#v", none)
	}
}

// dressed is a key under another algorithm's name.
type dressed struct {
	ssh.PublicKey
	as string
}

func (d dressed) Type() string { return d.as }

func TestAKeyOfAnotherAlgorithmIsRefused(t *testing.T) {
	for _, as := range []string{ssh.KeyAlgoSKED25519, "ssh-dss", ssh.KeyAlgoRSA} {
		if k, err := keyset.NewPublicKey(dressed{newKey(t).SSH(), as}); keyset.CodeOf(err) != keyset.CodeBadKey {
			t.Errorf("%s: %v, %v", as, k, err)
		}
	}
	var k keyset.PublicKey
	if err := k.UnmarshalJSON([]byte(`7`)); keyset.CodeOf(err) != keyset.CodeBadKey {
		t.Errorf("a number: %v", err)
	}
}

func TestPhaseFollowsKeysAndTime(t *testing.T) {
	k := valid(t)
	notAfter := k.Keys[2].NotAfter
	if p := k.Phase(notAfter.Add(time.Hour)); p != keyset.PhasePending {
		t.Errorf("with a pending key: %s", p)
	}
	k.Keys = append(k.Keys[:1:1], k.Keys[2])
	if p := k.Phase(notAfter.Add(-time.Nanosecond)); p != keyset.PhaseRetiring {
		t.Errorf("before the old key's end: %s", p)
	}
	if p := k.Phase(notAfter); p != keyset.PhaseSteady {
		t.Errorf("at the old key's end: %s", p)
	}
	if _, ok := k.Find(keyset.Pending); ok {
		t.Error("found a key that is not there")
	}
	if found, ok := k.Find(keyset.Current); !ok || found != k.Keys[0] {
		t.Errorf("found %v, %v", found, ok)
	}
}

func TestElapsedKeysPushTheOldestRetiredOut(t *testing.T) {
	k := valid(t)
	k.Retired = nil
	for range keyset.MaxRetired {
		k.Retired = append(k.Retired, keyset.Retired{Fingerprint: newKey(t).Fingerprint()})
	}
	now := k.Effective(k.Keys[2].NotAfter)
	if len(now.Retired) != keyset.MaxRetired || now.Retired[0].PublicKey != k.Keys[2].PublicKey || now.Retired[1] != k.Retired[0] {
		t.Errorf("%d retired, the first %v", len(now.Retired), now.Retired[0])
	}
}

func TestAKeysetThatIsNotValidHasNoBytes(t *testing.T) {
	k := valid(t)
	k.Keys = nil
	digest, err := k.Digest()
	if digest != "" || err == nil || !strings.HasSuffix(err.Error(), "["+string(keyset.CodeOf(err))+"]") {
		t.Errorf("digest %q, %v", digest, err)
	}
	if keyset.CodeOf(nil) != "" || keyset.CodeOf(keyset.ErrEmpty) != "" {
		t.Error("another error has a code")
	}
}
