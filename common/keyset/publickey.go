package keyset

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// minRSABits is the smallest RSA modulus a keyset may carry. OpenSSH's own default for RequiredRSASize
// is 1024; 2048 is the least that every supported distribution accepts under its default crypto policy.
const minRSABits = 2048

// maxLine bounds a public key's text. The longest legal one, RSA-16384, takes under 3,000 bytes.
const maxLine = 8 << 10

// PublicKey is one SSH public key in the form that sshd reads: an algorithm name and a blob. It has no
// options and no comment: those never travel in a keyset. The zero value is no key. It is immutable and
// safe for concurrent use, and comparable with ==.
type PublicKey struct {
	algorithm string
	blob      string
}

// ParsePublicKey reads one authorized_keys line that holds nothing but an algorithm, a base64 blob and,
// optionally, a comment, which is dropped. Options, control characters, a second line, an algorithm that
// is not allowed here (ed25519, RSA of at least 2048 bits, ECDSA on the NIST curves) or that differs from
// the one inside the blob are refused with an *Invalid of code "bad-key".
func ParsePublicKey(line string) (PublicKey, error) {
	if len(line) > maxLine {
		return PublicKey{}, invalid(CodeBadKey, "public key of %d bytes is longer than %d", len(line), maxLine)
	}
	for _, r := range line {
		if r < ' ' || r == 0x7f {
			return PublicKey{}, invalid(CodeBadKey, "public key holds the control character %q", r)
		}
	}
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return PublicKey{}, invalid(CodeBadKey, "public key is not of the form %q", "algorithm base64")
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(fields[1])
	if err != nil {
		return PublicKey{}, invalid(CodeBadKey, "public key is not base64: %v", err)
	}
	parsed, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return PublicKey{}, invalid(CodeBadKey, "public key blob does not parse: %v", err)
	}
	if parsed.Type() != fields[0] {
		return PublicKey{}, invalid(CodeBadKey, "public key says %q but its blob holds %q", fields[0], parsed.Type())
	}
	return fromSSH(parsed, blob)
}

// NewPublicKey converts a key of x/crypto/ssh under the same rules as ParsePublicKey.
func NewPublicKey(key ssh.PublicKey) (PublicKey, error) {
	return fromSSH(key, key.Marshal())
}

func fromSSH(key ssh.PublicKey, blob []byte) (PublicKey, error) {
	if !bytes.Equal(key.Marshal(), blob) {
		return PublicKey{}, invalid(CodeBadKey, "public key blob is not in canonical form")
	}
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
	case ssh.KeyAlgoRSA:
		if bits := rsaBits(key); bits < minRSABits {
			return PublicKey{}, invalid(CodeBadKey, "RSA key of %d bits is shorter than %d", bits, minRSABits)
		}
	default:
		return PublicKey{}, invalid(CodeBadKey, "algorithm %q is not allowed", key.Type())
	}
	return PublicKey{algorithm: key.Type(), blob: string(blob)}, nil
}

func rsaBits(key ssh.PublicKey) int {
	holder, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return 0
	}
	public, ok := holder.CryptoPublicKey().(*rsa.PublicKey)
	if !ok {
		return 0
	}
	return public.N.BitLen()
}

// IsZero reports whether k is no key.
func (k PublicKey) IsZero() bool { return k.algorithm == "" }

// Type is the algorithm name of the key's format, such as "ssh-ed25519" or "ssh-rsa".
func (k PublicKey) Type() string { return k.algorithm }

// Blob is a copy of the key in SSH wire format (RFC 4253 section 6.6).
func (k PublicKey) Blob() []byte { return []byte(k.blob) }

// SSH is the same key as x/crypto/ssh has it; nil for the zero value.
func (k PublicKey) SSH() ssh.PublicKey {
	if k.IsZero() {
		return nil
	}
	key, err := ssh.ParsePublicKey([]byte(k.blob))
	if err != nil {
		return nil // cannot happen: every constructor has parsed the blob
	}
	return key
}

// Fingerprint is the key's SHA-256 fingerprint as ssh-keygen -l prints it; empty for the zero value.
func (k PublicKey) Fingerprint() string {
	if k.IsZero() {
		return ""
	}
	return ssh.FingerprintSHA256(k.SSH())
}

// String is the canonical text "algorithm base64", without comment or newline.
func (k PublicKey) String() string {
	if k.IsZero() {
		return ""
	}
	return k.algorithm + " " + base64.StdEncoding.EncodeToString([]byte(k.blob))
}

// MarshalJSON writes the canonical text.
func (k PublicKey) MarshalJSON() ([]byte, error) { return json.Marshal(k.String()) }

// UnmarshalJSON reads the text by ParsePublicKey.
func (k *PublicKey) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return invalid(CodeBadKey, "public key is not a JSON string")
	}
	parsed, err := ParsePublicKey(text)
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}

// GoString keeps %#v output readable in tests.
func (k PublicKey) GoString() string { return fmt.Sprintf("keyset.PublicKey(%s)", k.Fingerprint()) }
