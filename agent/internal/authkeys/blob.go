package authkeys

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// A digest is the SHA-256 of a key's canonical blob.
type digest [sha256.Size]byte

const fingerprintPrefix = "SHA256:"

// String is the digest as ssh-keygen prints it.
func (d digest) String() string {
	return fingerprintPrefix + base64.RawStdEncoding.EncodeToString(d[:])
}

// parseDigest reads a fingerprint back.
func parseDigest(s string) (d digest, ok bool) {
	text, ok := strings.CutPrefix(s, fingerprintPrefix)
	if !ok || len(text) != base64.RawStdEncoding.EncodedLen(len(d)) {
		return d, false
	}
	n, err := base64.RawStdEncoding.Strict().Decode(d[:], []byte(text))
	return d, err == nil && n == len(d)
}

// A kind is a key format, under the name that its canonical blob begins with.
type kind string

const (
	kindRSA       kind = "ssh-rsa"
	kindDSA       kind = "ssh-dss"
	kindED25519   kind = "ssh-ed25519"
	kindP256      kind = "ecdsa-sha2-nistp256"
	kindP384      kind = "ecdsa-sha2-nistp384"
	kindP521      kind = "ecdsa-sha2-nistp521"
	kindSKED25519 kind = "sk-ssh-ed25519@openssh.com"
	kindSKP256    kind = "sk-ecdsa-sha2-nistp256@openssh.com"
)

// kindOfLine maps the first word of a line. sshd also takes the names of RSA's signature algorithms there. Certificates do not
// count: as a line they accept nothing.
func kindOfLine(name []byte) (kind, bool) {
	switch string(name) {
	case string(kindED25519):
		return kindED25519, true
	case string(kindRSA), "rsa-sha2-256", "rsa-sha2-512":
		return kindRSA, true
	case string(kindP256):
		return kindP256, true
	case string(kindP384):
		return kindP384, true
	case string(kindP521):
		return kindP521, true
	case string(kindSKED25519):
		return kindSKED25519, true
	case string(kindSKP256), "webauthn-sk-ecdsa-sha2-nistp256@openssh.com":
		return kindSKP256, true
	case string(kindDSA):
		return kindDSA, true
	}
	return "", false
}

// kindOfBlob maps the name inside a blob, where sshd takes the short names of some formats too, in any case.
func kindOfBlob(name []byte) (kind, bool) {
	if k, ok := kindOfLine(name); ok {
		return k, true
	}
	switch strings.ToUpper(string(name)) {
	case "RSA":
		return kindRSA, true
	case "DSA":
		return kindDSA, true
	case "ED25519":
		return kindED25519, true
	case "ED25519-SK":
		return kindSKED25519, true
	}
	return "", false
}

// A wire reads the parts of a blob (RFC 4251 section 5) and rebuilds them in canonical form when they are not.
type wire struct {
	rest      []byte
	bad       bool
	canonical bool
	parts     [][]byte
}

// bytes reads one string.
func (w *wire) bytes() []byte {
	if w.bad || len(w.rest) < 4 {
		w.bad = true
		return nil
	}
	n := binary.BigEndian.Uint32(w.rest)
	if uint64(n) > uint64(len(w.rest)-4) {
		w.bad = true
		return nil
	}
	part := w.rest[4 : 4+n]
	w.rest = w.rest[4+n:]
	w.parts = append(w.parts, part)
	return part
}

// replace puts another value in the place of the part read last.
func (w *wire) replace(part []byte) {
	w.parts[len(w.parts)-1] = part
	w.canonical = false
}

// maxNumber is the largest number that sshd reads, in bytes.
const maxNumber = 16384 / 8

// number reads an mpint. sshd refuses negative ones and skips any leading zeros.
func (w *wire) number() []byte {
	raw := w.bytes()
	if len(raw) > 0 && raw[0]&0x80 != 0 || len(raw) > maxNumber+1 || len(raw) == maxNumber+1 && raw[0] != 0 {
		w.bad = true
		return nil
	}
	trimmed := bytes.TrimLeft(raw, "\x00")
	minimal := trimmed
	if len(trimmed) > 0 && trimmed[0]&0x80 != 0 {
		minimal = raw[len(raw)-len(trimmed)-1:]
	}
	if !w.bad && len(minimal) != len(raw) {
		w.replace(minimal)
	}
	return trimmed
}

// text reads a string that sshd takes as a C string: a NUL may only be its last byte, and does not count.
func (w *wire) text() []byte {
	raw := w.bytes()
	switch i := bytes.IndexByte(raw, 0); {
	case i < 0:
		return raw
	case i < len(raw)-1:
		w.bad = true
		return nil
	}
	w.replace(raw[:len(raw)-1])
	return raw[:len(raw)-1]
}

// sized reads a string of exactly n bytes.
func (w *wire) sized(n int) {
	if len(w.bytes()) != n {
		w.bad = true
	}
}

// point reads a curve's name and an uncompressed point on it.
func (w *wire) point(curve ecdh.Curve, name string) {
	if string(w.text()) != name {
		w.bad = true
	}
	if p := w.bytes(); len(p) == 0 || p[0] != 4 {
		w.bad = true
	} else if _, err := curve.NewPublicKey(p); err != nil {
		w.bad = true
	}
}

// digestOf reads a blob as the given kind and returns the digest of its canonical form; false when sshd would not read it.
func digestOf(k kind, blob []byte, parts [][]byte) (digest, bool) {
	w := wire{rest: blob, canonical: true, parts: parts[:0]}
	name := w.text()
	inner, ok := kindOfBlob(name)
	if w.bad || !ok || inner != k {
		return digest{}, false
	}
	if string(name) != string(k) {
		w.replace([]byte(k))
	}
	w.body(k)
	switch {
	case w.bad || len(w.rest) > 0:
		return digest{}, false
	case w.canonical:
		return sha256.Sum256(blob), true
	}
	return sha256.Sum256(w.join()), true
}

// minRSA is the shortest modulus that sshd reads, in bits.
const minRSA = 1024

func (w *wire) body(k kind) {
	switch k {
	case kindRSA:
		w.number()
		if n := w.number(); bits(n) < minRSA {
			w.bad = true
		}
	case kindDSA:
		for range 4 {
			w.number()
		}
	case kindED25519:
		w.sized(32)
	case kindSKED25519:
		w.sized(32)
		w.text()
	case kindP256:
		w.point(ecdh.P256(), "nistp256")
	case kindP384:
		w.point(ecdh.P384(), "nistp384")
	case kindP521:
		w.point(ecdh.P521(), "nistp521")
	case kindSKP256:
		w.point(ecdh.P256(), "nistp256")
		w.text()
	}
}

// bits is the bit length of a number without leading zeros.
func bits(n []byte) int {
	if len(n) == 0 {
		return 0
	}
	length := 8 * len(n)
	for mask := byte(0x80); n[0]&mask == 0; mask >>= 1 {
		length--
	}
	return length
}

func (w *wire) join() []byte {
	var out []byte
	for _, part := range w.parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
		out = append(out, part...)
	}
	return out
}
