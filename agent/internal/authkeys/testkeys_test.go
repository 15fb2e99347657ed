package authkeys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
)

const testARN = "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh-AbCdEf"

// A testKey is a key pair for a test.
type testKey struct {
	public keyset.PublicKey
	signer ssh.Signer
}

func (k testKey) fp() string   { return k.public.Fingerprint() }
func (k testKey) line() string { return k.public.String() }
func (k testKey) text() string { return base64.StdEncoding.EncodeToString(k.public.Blob()) }

func newKey(t testing.TB, private any) testKey {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	public, err := keyset.NewPublicKey(signer.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return testKey{public: public, signer: signer}
}

// key is an Ed25519 key that is always the same for one seed.
func key(t testing.TB, seed byte) testKey {
	t.Helper()
	sum := sha256.Sum256([]byte{seed})
	return newKey(t, ed25519.NewKeyFromSeed(sum[:]))
}

func rsaKey(t testing.TB) testKey {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return newKey(t, private)
}

func ecdsaKey(t testing.TB, curve elliptic.Curve) testKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return newKey(t, private)
}

// blobOf joins parts to a blob.
func blobOf(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// partsOf takes a blob apart.
func partsOf(t testing.TB, blob []byte) [][]byte {
	t.Helper()
	w := wire{rest: blob}
	for len(w.rest) > 0 && !w.bad {
		w.bytes()
	}
	if w.bad {
		t.Fatalf("blob %x does not come apart", blob)
	}
	return w.parts
}

func b64(blob []byte) string { return base64.StdEncoding.EncodeToString(blob) }

// planOf is a plan with the keys, each with the comment "v".
func planOf(keys ...testKey) Plan {
	p := Plan{SecretARN: testARN}
	for _, k := range keys {
		p.Keys = append(p.Keys, Line{Key: k.public, Comment: "v"})
	}
	return p
}

// block is the text of a whole block that holds the lines.
func block(lines ...string) string {
	s := "# BEGIN rotatessh " + testARN + " (managed, edits are overwritten)\n"
	for _, l := range lines {
		s += l + "\n"
	}
	return s + "# END rotatessh " + testARN + "\n"
}
