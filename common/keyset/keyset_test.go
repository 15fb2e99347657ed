package keyset_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
)

const arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh-AbCdEf"

var (
	v1 = strings.Repeat("1", 36)
	v2 = strings.Repeat("2", 36)
	v3 = strings.Repeat("3", 36)
)

func newKey(t testing.TB) keyset.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return wrap(t, public)
}

func wrap(t testing.TB, public any) keyset.PublicKey {
	t.Helper()
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := keyset.NewPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return wrapped
}

func retired(k keyset.PublicKey) keyset.Retired {
	return keyset.Retired{Fingerprint: k.Fingerprint(), VersionID: v3, PublicKey: k}
}

func valid(t testing.TB) keyset.Keyset {
	return keyset.Keyset{
		Schema: keyset.Schema, SecretARN: arn, Generation: 7,
		Keys: []keyset.Key{
			{State: keyset.Current, VersionID: v1, PublicKey: newKey(t)},
			{State: keyset.Pending, VersionID: v2, PublicKey: newKey(t)},
			{State: keyset.Retiring, VersionID: v3, PublicKey: newKey(t), NotAfter: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		},
		Retired: []keyset.Retired{retired(newKey(t)), {Fingerprint: newKey(t).Fingerprint()}},
	}
}

func encode(t testing.TB, k keyset.Keyset) []byte {
	t.Helper()
	data, err := k.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestWhatIsEncodedParsesBackToTheSame(t *testing.T) {
	want := valid(t)
	got, err := keyset.Parse(encode(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b keyset.PublicKey) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestEqualKeysetsHaveEqualBytesInEveryTimeZone(t *testing.T) {
	a := valid(t)
	b := a
	b.Keys = append([]keyset.Key(nil), a.Keys...)
	b.Keys[2].NotAfter = a.Keys[2].NotAfter.In(time.FixedZone("far", 5*3600))
	if !bytes.Equal(encode(t, a), encode(t, b)) {
		t.Errorf("bytes differ:\n%s\n%s", encode(t, a), encode(t, b))
	}
	digest, err := a.Digest()
	if err != nil || len(digest) != 64 {
		t.Errorf("Digest() = %q, %v: not usable as a ClientRequestToken", digest, err)
	}
}

func TestUnknownMembersAreIgnored(t *testing.T) {
	data := encode(t, valid(t))
	data = append([]byte(`{"later":{"deep":[1,{"x":null}]},`), data[1:]...)
	if _, err := keyset.Parse(data); err != nil {
		t.Error(err)
	}
}

func TestAnUnpublishedSecretIsNotAFault(t *testing.T) {
	for _, text := range []string{"{}", " {\n} \n"} {
		if _, err := keyset.Parse([]byte(text)); !errors.Is(err, keyset.ErrEmpty) {
			t.Errorf("Parse(%q) = %v, want ErrEmpty", text, err)
		}
	}
}

func TestABrokenDocumentIsRefusedWithItsCode(t *testing.T) {
	edit := func(f func(k *keyset.Keyset)) string {
		k := valid(t)
		f(&k)
		data, err := json.Marshal(k) // not Encode, which would refuse
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	good := string(encode(t, valid(t)))
	tests := []struct {
		name, text string
		code       keyset.Code
	}{
		{"nothing", "", keyset.CodeMalformed},
		{"null", "null", keyset.CodeMalformed},
		{"array", "[]", keyset.CodeMalformed},
		{"not JSON", "ssh-ed25519 AAAA", keyset.CodeMalformed},
		{"cut off", good[:len(good)/2], keyset.CodeMalformed},
		{"two documents", good + good, keyset.CodeMalformed},
		{"a member twice", `{"generation":1,` + good[1:], keyset.CodeMalformed},
		{"a member twice in other capitals", `{"Generation":1,` + good[1:], keyset.CodeMalformed},
		{"too deep", `{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, keyset.CodeMalformed},
		{"generation is text", strings.Replace(good, `"generation":7`, `"generation":"7"`, 1), keyset.CodeMalformed},
		{"generation is a fraction", strings.Replace(good, `"generation":7`, `"generation":7.5`, 1), keyset.CodeMalformed},
		{"too large", `{"schema":"` + strings.Repeat("x", keyset.MaxSize) + `"}`, keyset.CodeTooLarge},
		{"no schema", `{"generation":7}`, keyset.CodeSchema},
		{"schema of tomorrow", `{"schema":"rotatessh.keyset/v2","keys":"other type"}`, keyset.CodeSchema},
		{"the key-pair secret instead", `{"PrivateKey":"x","PublicKey":"y"}`, keyset.CodeSchema},
		{"secret is not an ARN", edit(func(k *keyset.Keyset) { k.SecretARN = "/dev/ssh" }), keyset.CodeBadSecret},
		{"secret with a newline", edit(func(k *keyset.Keyset) { k.SecretARN += "\n# END" }), keyset.CodeBadSecret},
		{"generation zero", edit(func(k *keyset.Keyset) { k.Generation = 0 }), keyset.CodeGeneration},
		{"generation negative", edit(func(k *keyset.Keyset) { k.Generation = -1 }), keyset.CodeGeneration},
		{"generation huge", edit(func(k *keyset.Keyset) { k.Generation = keyset.MaxGeneration + 1 }), keyset.CodeGeneration},
		{"no key", edit(func(k *keyset.Keyset) { k.Keys = nil }), keyset.CodeNoKeys},
		{"unknown state", edit(func(k *keyset.Keyset) { k.Keys[0].State = "retired" }), keyset.CodeState},
		{"two current", edit(func(k *keyset.Keyset) { k.Keys[1].State = keyset.Current }), keyset.CodeState},
		{"two pending", edit(func(k *keyset.Keyset) { k.Keys[0].State = keyset.Pending }), keyset.CodeState},
		{"key twice", edit(func(k *keyset.Keyset) { k.Keys[1].PublicKey = k.Keys[0].PublicKey }), keyset.CodeDuplicate},
		{"key also retired", edit(func(k *keyset.Keyset) { k.Retired[0] = retired(k.Keys[0].PublicKey) }), keyset.CodeDuplicate},
		{"retired twice", edit(func(k *keyset.Keyset) { k.Retired[1] = k.Retired[0] }), keyset.CodeDuplicate},
		{"no public key", edit(func(k *keyset.Keyset) { k.Keys[0].PublicKey = keyset.PublicKey{} }), keyset.CodeBadKey},
		{"no version", edit(func(k *keyset.Keyset) { k.Keys[0].VersionID = "" }), keyset.CodeBadVersion},
		{"version with a blank", edit(func(k *keyset.Keyset) { k.Keys[0].VersionID = strings.Repeat("a ", 18) }), keyset.CodeBadVersion},
		{"current that ends", edit(func(k *keyset.Keyset) { k.Keys[0].NotAfter = time.Now() }), keyset.CodeNotAfter},
		{"retiring without end", edit(func(k *keyset.Keyset) { k.Keys[2].NotAfter = time.Time{} }), keyset.CodeNotAfter},
		{"retiring until a year that UTC cannot write", strings.Replace(good, "2026-01-02T03:04:05Z", "9999-12-31T23:59:59-23:00", 1), keyset.CodeNotAfter},
		{"retired without fingerprint", edit(func(k *keyset.Keyset) { k.Retired[1].Fingerprint = "" }), keyset.CodeRetired},
		{"retired with an MD5 fingerprint", edit(func(k *keyset.Keyset) { k.Retired[1].Fingerprint = "MD5:00" }), keyset.CodeRetired},
		{"retired with another key's blob", edit(func(k *keyset.Keyset) { k.Retired[0].PublicKey = newKey(t) }), keyset.CodeRetired},
		{"too many retired", edit(func(k *keyset.Keyset) {
			for range keyset.MaxRetired {
				k.Retired = append(k.Retired, keyset.Retired{Fingerprint: newKey(t).Fingerprint()})
			}
		}), keyset.CodeRetired},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := keyset.Parse([]byte(test.text))
			if keyset.CodeOf(err) != test.code {
				t.Errorf("got %v, want code %s", err, test.code)
			}
		})
	}
}

func TestAKeyThatCouldSmuggleAnythingIsRefused(t *testing.T) {
	good := newKey(t).String()
	blob := strings.Fields(good)[1]
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	shortKey, err := ssh.NewPublicKey(&short.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{
		"empty":            "",
		"options":          `command="id" ` + good,
		"second line":      good + "\n" + good,
		"carriage return":  good + "\r",
		"NUL":              good + "\x00",
		"escape":           good + " \x1b[2J",
		"blob alone":       blob,
		"other algorithm":  "ssh-rsa " + blob,
		"broken base64":    "ssh-ed25519 " + blob[:len(blob)-3],
		"base64 with rest": "ssh-ed25519 " + blob + "AAAA",
		"certificate":      "ssh-ed25519-cert-v01@openssh.com " + blob,
		"short RSA":        strings.TrimSpace(string(ssh.MarshalAuthorizedKey(shortKey))),
		"endless":          "ssh-ed25519 " + strings.Repeat("A", 1<<20),
	} {
		if k, err := keyset.ParsePublicKey(line); keyset.CodeOf(err) != keyset.CodeBadKey || !k.IsZero() {
			t.Errorf("%s: got %#v, %v", name, k, err)
		}
	}
	if _, err := keyset.ParsePublicKey(good + "  a comment"); err != nil {
		t.Errorf("a comment must be dropped, not refused: %v", err)
	}
}

func TestFingerprintsAreThoseOfSSHKeygen(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("not run: ssh-keygen is not installed")
	}
	ec, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	big, _ := rsa.GenerateKey(rand.Reader, 2048)
	for _, key := range []keyset.PublicKey{newKey(t), wrap(t, ec.Public()), wrap(t, big.Public())} {
		file := filepath.Join(t.TempDir(), "key.pub")
		if err := os.WriteFile(file, []byte(key.String()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), keygen, "-lf", file).Output()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(out), " "+key.Fingerprint()+" ") {
			t.Errorf("ssh-keygen says %q, we say %q", out, key.Fingerprint())
		}
	}
}

func TestARetiringKeyElapsesAtItsNotAfterAndThenCountsAsRetired(t *testing.T) {
	k := valid(t)
	k.Keys = append(k.Keys[:1:1], k.Keys[2]) // current and retiring
	end := k.Keys[1].NotAfter
	gone := k.Keys[1].PublicKey.Fingerprint()
	tests := []struct {
		at    time.Time
		phase keyset.Phase
		keys  int
	}{
		{end.Add(-time.Nanosecond), keyset.PhaseRetiring, 2},
		{end, keyset.PhaseSteady, 1},
		{end.Add(time.Hour), keyset.PhaseSteady, 1},
	}
	for _, test := range tests {
		if got := k.Phase(test.at); got != test.phase {
			t.Errorf("at %v the phase is %s, want %s", test.at, got, test.phase)
		}
		effective := k.Effective(test.at)
		if len(effective.Keys) != test.keys {
			t.Errorf("at %v there are %d keys, want %d", test.at, len(effective.Keys), test.keys)
		}
		if elapsed := test.keys == 1; elapsed != (effective.Retired[0].Fingerprint == gone) {
			t.Errorf("at %v the newest retired key is %s", test.at, effective.Retired[0].Fingerprint)
		}
	}
	if len(k.Keys) != 2 || len(k.Retired) != 2 {
		t.Error("Effective changed its receiver")
	}
	if next, ok := k.NextExpiry(end.Add(-time.Second)); !ok || !next.Equal(end) {
		t.Errorf("NextExpiry = %v, %v", next, ok)
	}
	if _, ok := k.NextExpiry(end); ok {
		t.Error("an elapsed key still has an expiry to come")
	}
}

func TestContentIsComparedWithoutTheGeneration(t *testing.T) {
	a := valid(t)
	b := a
	b.Generation++
	if !keyset.SameContent(a, b) {
		t.Error("another generation of the same content differs")
	}
	b.Retired = b.Retired[:1]
	if keyset.SameContent(a, b) {
		t.Error("a dropped retired key makes no difference")
	}
	if keyset.SameContent(keyset.Keyset{}, keyset.Keyset{}) {
		t.Error("two invalid keysets are the same")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add(encode(f, valid(f)))
	f.Add(bytes.Replace(encode(f, valid(f)), []byte("pending"), []byte("current"), 1))
	f.Add([]byte(`{"schema":"rotatessh.keyset/v1","schema":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := keyset.Parse(data)
		if err != nil {
			if !errors.Is(err, keyset.ErrEmpty) && keyset.CodeOf(err) == "" {
				t.Fatalf("refused without a code: %v", err)
			}
			return
		}
		again, err := keyset.Parse(encode(t, k))
		if err != nil {
			t.Fatalf("what was accepted does not survive encoding: %v", err)
		}
		if !keyset.SameContent(k, again) || k.Generation != again.Generation {
			t.Fatal("encoding changed the document")
		}
	})
}

func FuzzParsePublicKey(f *testing.F) {
	f.Add(newKey(f).String())
	f.Add(`command="x" ` + newKey(f).String())
	f.Fuzz(func(t *testing.T, line string) {
		k, err := keyset.ParsePublicKey(line)
		if err != nil {
			return
		}
		text := k.String()
		if strings.ContainsAny(text, "\r\n\x00\"'`$\\") || len(strings.Fields(text)) != 2 {
			t.Fatalf("canonical text %q is not two plain words", text)
		}
		if again, err := keyset.ParsePublicKey(text); err != nil || again != k {
			t.Fatalf("%q does not parse back: %v", text, err)
		}
	})
}

func ExampleKeyset_Phase() {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	k := keyset.Keyset{Keys: []keyset.Key{{State: keyset.Retiring, NotAfter: now.Add(15 * time.Minute)}}}
	fmt.Println(k.Phase(now), k.Phase(now.Add(time.Hour)))
	// Output: retiring steady
}
