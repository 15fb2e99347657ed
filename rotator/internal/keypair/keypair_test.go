package keypair_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

func types() []keypair.Type {
	return []keypair.Type{keypair.ED25519, keypair.RSA3072, keypair.RSA4096, keypair.ECDSAP256}
}

func generate(t *testing.T, kind keypair.Type) keypair.Pair {
	t.Helper()
	pair, err := keypair.Generate(kind)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func encode(t *testing.T, pair keypair.Pair, comment string) (value string, fields map[string]string) {
	t.Helper()
	value, err := pair.Encode(comment)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal([]byte(value), &all); err != nil {
		t.Fatal(err)
	}
	fields = map[string]string{}
	for name, v := range all {
		if s, ok := v.(string); ok {
			fields[name] = s
		}
	}
	return value, fields
}

func TestEveryTypeComesBackFromItsSecret(t *testing.T) {
	headers := map[keypair.Type]string{
		keypair.ED25519: "OPENSSH PRIVATE KEY", keypair.RSA3072: "RSA PRIVATE KEY", keypair.RSA4096: "RSA PRIVATE KEY", keypair.ECDSAP256: "EC PRIVATE KEY",
	}
	for _, kind := range types() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			pair := generate(t, kind)
			value, fields := encode(t, pair, "0f2c")
			if want := pair.PublicKey().String() + " 0f2c"; fields["PublicKey"] != want {
				t.Errorf("PublicKey is %q, want %q", fields["PublicKey"], want)
			}
			block, rest := pem.Decode([]byte(fields["PrivateKey"]))
			if block == nil || block.Type != headers[kind] || len(rest) > 0 {
				t.Fatalf("PrivateKey is not one PEM block of type %q", headers[kind])
			}
			back, err := keypair.Decode([]byte(value))
			if err != nil {
				t.Fatal(err)
			}
			if back.PublicKey() != pair.PublicKey() || back.Successor() != kind {
				t.Errorf("read back %v with successor %s, want %v with %s", back, back.Successor(), pair, kind)
			}
			signature, err := back.Signer().Sign(rand.Reader, []byte("message"))
			if err != nil {
				t.Fatal(err)
			}
			if err := pair.PublicKey().SSH().Verify([]byte("message"), signature); err != nil {
				t.Errorf("signature of the key that was read back: %v", err)
			}
			if again, _ := encode(t, back, "0f2c"); again != value {
				t.Error("encoding again gives another value")
			}
		})
	}
}

func TestOpenSSHReadsEveryType(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("not run: no ssh-keygen on this machine")
	}
	for _, kind := range types() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			pair := generate(t, kind)
			_, fields := encode(t, pair, "0f2c")
			cmd := exec.CommandContext(t.Context(), keygen, "-y", "-P", "", "-f", "/dev/stdin")
			cmd.Stdin = strings.NewReader(fields["PrivateKey"])
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("ssh-keygen -y: %v", err)
			}
			if got := strings.TrimSpace(string(out)); got != pair.PublicKey().String() {
				t.Errorf("ssh-keygen derives %q, want %q", got, pair.PublicKey())
			}
		})
	}
}

// paramikoReads is what a program written for the sample does with the secret.
const paramikoReads = `
import io, sys, paramiko
text = sys.stdin.read()
for kind in (paramiko.RSAKey, paramiko.ECDSAKey, paramiko.Ed25519Key):
    try:
        key = kind.from_private_key(io.StringIO(text))
    except paramiko.SSHException:
        continue
    print(key.get_name(), key.get_base64())
    break
`

// pythonWithParamiko prefers the one on PATH to the distribution's, whose packages it may not see.
func pythonWithParamiko(t *testing.T) string {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import paramiko").Run() == nil {
			return python
		}
	}
	t.Skip("not run: no python3 with paramiko on this machine")
	return ""
}

func TestParamikoReadsEveryType(t *testing.T) {
	python := pythonWithParamiko(t)
	for _, kind := range types() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			pair := generate(t, kind)
			_, fields := encode(t, pair, "0f2c")
			cmd := exec.CommandContext(t.Context(), python, "-c", paramikoReads)
			cmd.Stdin = strings.NewReader(fields["PrivateKey"])
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("python3: %v", err)
			}
			if got := strings.TrimSpace(string(out)); got != pair.PublicKey().String() {
				t.Errorf("paramiko reads %q, want %q", got, pair.PublicKey())
			}
		})
	}
}

func secretWith(t *testing.T, members map[string]any) []byte {
	t.Helper()
	value, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestOlderKindsOfKeyAreRead(t *testing.T) {
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		block *pem.Block
		next  keypair.Type
	}{
		{"rsa-2048", &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(old)}, keypair.RSA3072},
		{"ecdsa-p384 in PKCS#8", &pem.Block{Type: "PRIVATE KEY", Bytes: wrapped}, keypair.ECDSAP256},
	} {
		pair, err := keypair.Decode(secretWith(t, map[string]any{"PrivateKey": string(pem.EncodeToMemory(c.block))}))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if pair.Successor() != c.next {
			t.Errorf("%s: successor is %s, want %s", c.name, pair.Successor(), c.next)
		}
	}
}

func TestOtherMembersOfTheSecretStayAsTheyAre(t *testing.T) {
	pair := generate(t, keypair.ED25519)
	_, fields := encode(t, pair, "v1")
	value := `{"note": "a<b> & \u00e9", "n": 1234567890123456789012, "list": [1, {"x": null}], "PrivateKey": ` + quote(t, fields["PrivateKey"]) + `}`
	old, err := keypair.Decode([]byte(value))
	if err != nil {
		t.Fatal(err)
	}
	next := generate(t, keypair.ED25519)
	got, _ := encode(t, next.WithMembersOf(old), "v2")
	for _, want := range []string{`"note":"a<b> & \u00e9"`, `"n":1234567890123456789012`, `"list":[1,{"x":null}]`} {
		if !strings.Contains(got, want) {
			t.Errorf("the next secret lacks %s", want)
		}
	}
	back, err := keypair.Decode([]byte(got))
	if err != nil {
		t.Fatal(err)
	}
	if back.PublicKey() != next.PublicKey() {
		t.Error("the next secret holds another key than its own")
	}
}

func quote(t *testing.T, s string) string {
	t.Helper()
	q, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(q)
}

func TestEmptySecretIsToldFromADamagedOne(t *testing.T) {
	if _, err := keypair.Decode([]byte(" {} ")); !errors.Is(err, keypair.ErrEmpty) {
		t.Errorf("{}: %v, want ErrEmpty", err)
	}
	pair, other := generate(t, keypair.ED25519), generate(t, keypair.ED25519)
	_, fields := encode(t, pair, "v1")
	_, otherFields := encode(t, other, "v1")
	private := fields["PrivateKey"]
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(mustKey(t), "", []byte("phrase"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		value []byte
		want  string
	}{
		"nothing":           {nil, "not a JSON object"},
		"text":              {[]byte("hello"), "not a JSON object"},
		"null":              {[]byte("null"), "not a JSON object"},
		"list":              {[]byte("[]"), "not a JSON object"},
		"trailing data":     {[]byte("{} {}"), "not a JSON object"},
		"bare PEM":          {[]byte(private), "not a JSON object"},
		"other names":       {secretWith(t, map[string]any{"private_key": private}), "has no PrivateKey"},
		"public key only":   {secretWith(t, map[string]any{"PublicKey": fields["PublicKey"]}), "has no PrivateKey"},
		"empty private key": {secretWith(t, map[string]any{"PrivateKey": ""}), "has no PrivateKey"},
		"number":            {secretWith(t, map[string]any{"PrivateKey": 5}), "not a string"},
		"cut off":           {secretWith(t, map[string]any{"PrivateKey": private[:len(private)/2]}), "not a PEM key"},
		"passphrase":        {secretWith(t, map[string]any{"PrivateKey": string(pem.EncodeToMemory(locked))}), "encrypted"},
		"foreign public":    {secretWith(t, map[string]any{"PrivateKey": private, "PublicKey": otherFields["PublicKey"]}), other.Fingerprint()},
		"odd public":        {secretWith(t, map[string]any{"PrivateKey": private, "PublicKey": "ssh-ed25519"}), "PublicKey"},
	} {
		_, err := keypair.Decode(c.value)
		if err == nil || errors.Is(err, keypair.ErrEmpty) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one with %q", name, err, c.want)
		}
	}
}

func mustKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestUnknownTypesAreRefused(t *testing.T) {
	for _, name := range []string{"", "rsa", "rsa-2048", "dsa", "ED25519"} {
		if _, err := keypair.ParseType(name); err == nil {
			t.Errorf("%q is taken for a type", name)
		}
		if _, err := keypair.Generate(keypair.Type(name)); err == nil {
			t.Errorf("a pair of type %q was generated", name)
		}
	}
	for _, want := range types() {
		got, err := keypair.ParseType(string(want))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", want, err, diff)
		}
	}
}

func TestNoPairIsHarmless(t *testing.T) {
	var none keypair.Pair
	if !none.IsZero() || none.Signer() != nil || !none.PublicKey().IsZero() || none.Fingerprint() != "" || none.Successor() != keypair.Default {
		t.Error("the zero pair is something")
	}
	if _, err := none.Encode("v"); err == nil {
		t.Error("the zero pair was encoded")
	}
	pair := generate(t, keypair.ED25519)
	if none.WithMembersOf(pair).PublicKey() != none.PublicKey() || pair.WithMembersOf(none).PublicKey() != pair.PublicKey() {
		t.Error("members of no pair changed a pair")
	}
	if _, err := pair.Encode("two words"); err == nil {
		t.Error("a comment with a blank was written into a line of its own")
	}
}
