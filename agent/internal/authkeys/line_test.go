package authkeys

import (
	"bytes"
	"crypto/elliptic"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
)

// An oddLine is a line of authorized_keys with a key in it, or nearly.
type oddLine struct {
	name    string
	line    string
	key     testKey
	holds   bool // the line holds the key
	ignored bool // but sshd does not accept the key by it
	// elsewhere: ssh-keygen -l, which also reads other kinds of files, sees the line differently from sshd.
	elsewhere bool
}

// accepts says what sshd must answer.
func (o oddLine) accepts() bool { return o.holds && !o.ignored }

func oddLines(t testing.TB) []oddLine {
	t.Helper()
	var all []oddLine
	for _, part := range [][]oddLine{oddBlanks(t), oddOptions(t), oddBase64(t), oddBlobs(t)} {
		all = append(all, part...)
	}
	return all
}

func oddBlanks(t testing.TB) []oddLine {
	k := key(t, 20)
	text, other := k.text(), key(t, 21).line()
	return []oddLine{
		{name: "plain", line: k.line(), key: k, holds: true},
		{name: "comment", line: k.line() + ` a "b c`, key: k, holds: true},
		{name: "leading blanks", line: " \t " + k.line(), key: k, holds: true},
		{name: "tabs between", line: "ssh-ed25519\t\t" + text + "\tme", key: k, holds: true},
		{name: "many blanks", line: "ssh-ed25519 \t " + text + "  \t me", key: k, holds: true},
		{name: "CR after the key", line: k.line() + "\r", key: k, holds: true},
		{name: "CR after the comment", line: k.line() + " me\r", key: k, holds: true},
		{name: "CR in front", line: "\r" + k.line(), key: k},
		{name: "vertical tab in front", line: "\v" + k.line(), key: k},
		{name: "no-break space in front", line: "\u00a0" + k.line(), key: k},
		{name: "byte order mark", line: "\ufeff" + k.line(), key: k},
		{name: "NUL after the key", line: k.line() + "\x00junk", key: k, holds: true},
		{name: "NUL in the key", line: "ssh-ed25519 " + text[:20] + "\x00" + text[20:], key: k},
		{name: "NUL in front", line: "\x00" + k.line(), key: k},
		{name: "NUL in the comment", line: k.line() + " a\x00b", key: k, holds: true},
		{name: "comment line", line: "# " + k.line(), key: k},
		{name: "indented comment line", line: "  #" + k.line(), key: k},
		{name: "second key of a line", line: other + " " + k.line(), key: k},
		{name: "glued to another", line: other + k.line(), key: k},
		{name: "type only", line: "ssh-ed25519", key: k},
		{name: "type and blank", line: "ssh-ed25519 ", key: k},
		{name: "type in capitals", line: "SSH-ED25519 " + text, key: k},
		{name: "short type", line: "ED25519 " + text, key: k},
		{name: "blob only", line: text, key: k},
		{name: "wrong type", line: "ssh-rsa " + text, key: k},
		{name: "mebibyte of comment", line: k.line() + " " + strings.Repeat("x", 1<<20), key: k, holds: true},
	}
}

func oddOptions(t testing.TB) []oddLine {
	k := key(t, 22)
	with := func(options string) string { return options + " " + k.line() }
	lines := []oddLine{
		{name: "two blanks after options", line: "no-pty  " + k.line(), holds: true, elsewhere: true},
		{name: "tab after options", line: "no-pty\t" + k.line(), holds: true},
		{name: "blank in front of options", line: " no-pty " + k.line(), holds: true},
		{name: "NUL in options", line: with("no-\x00pty")},
		{name: "number as option", line: with("1024"), holds: true, ignored: true, elsewhere: true},
		{name: "type as option", line: with("ssh-rsa"), holds: true, ignored: true},
		{name: "quote never closed", line: with(`command="a`)},
		{name: "quote closed in the comment", line: with(`command="a`) + ` b" c`},
		{name: "blank after comma", line: "no-pty, " + k.line(), holds: true},
		{name: "blank before comma", line: "no-pty ,no-user-rc " + k.line()},
	}
	for _, o := range []string{
		"restrict", "NO-PTY", ",no-pty", "no-pty,", "no-pty,,,pty", ",", "pty,no-pty", "restrict,port-forwarding", "no-touch-required", "verify-required,no-verify-required",
		`command="a b"`, `command="a \" b"`, `command="a,b" `, `command=""`, `Command="x",no-X11-forwarding`,
		`environment="A_1=b c"`, `from="127.0.0.1,::1"`, `expiry-time="20991231"`, `expiry-time="209912312359"`, `expiry-time="20991231235959Z"`,
		`permitopen="h:1"`, `permitopen="[::1]:*",permitopen="h:2"`, `permitlisten="80"`, `permitlisten="localhost:80"`, `tunnel="0"`, `tunnel="any"`,
	} {
		lines = append(lines, oddLine{name: o, line: with(strings.TrimSpace(o)), holds: true})
	}
	for _, o := range []string{
		"cert-authority", `principals="x"`, "nonsense", "no-restrict", "no-cert-authority", "restricted", "pty=yes",
		`command`, `command=a`, `command="a"b`, `command="a",command="b"`, `from="127.0.0.1",from="127.0.0.1"`,
		`environment="=b"`, `environment="A"`, `environment="A-B=c"`, `expiry-time="2099"`, `expiry-time="20991331"`, `expiry-time=""`,
		`permitopen="h"`, `permitopen="h:0"`, `permitopen="h:65536"`, `permitopen=":"`, `permitlisten="0"`, `tunnel="x"`, `tunnel="-1"`, `\"no-pty`,
	} {
		lines = append(lines, oddLine{name: o, line: with(o), holds: true, ignored: true})
	}
	for i := range lines {
		lines[i].key = k
	}
	return lines
}

func oddBase64(t testing.TB) []oddLine {
	// An RSA key's blob of 279 bytes ends without padding, an Ed25519 key's of 51 too; an sk key's can be made to need it.
	k := ecdsaKey(t, elliptic.P256()) // 104 bytes: one "="
	text := k.text()
	line := func(text string) string { return "ecdsa-sha2-nistp256 " + text + " me" }
	last := strings.IndexByte(text, '=') - 1
	slopped := []byte(text)
	slopped[last] = "BCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/A"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", text[last])]
	lines := []oddLine{
		{name: "padded", line: line(text), holds: true},
		{name: "no padding", line: line(strings.TrimRight(text, "="))},
		{name: "too much padding", line: line(text + "=")},
		{name: "text after padding", line: line(text + "AAAA")},
		{name: "unused bits set", line: line(string(slopped))},
		{name: "URL alphabet", line: line(strings.NewReplacer("+", "-", "/", "_").Replace(base64.StdEncoding.EncodeToString([]byte("\xfb\xff\xbe")) + text))},
		{name: "form feed inside", line: line(text[:9] + "\f" + text[9:]), holds: true},
		{name: "CR inside", line: line(text[:9] + "\r" + text[9:]), holds: true},
		{name: "vertical tab before padding", line: line(strings.Replace(text, "=", "\v=", 1)), holds: true},
		{name: "CR after padding", line: line(text + "\r"), holds: true},
		{name: "quote inside", line: line(text[:9] + `"` + text[9:])},
		{name: "other byte inside", line: line(text[:9] + "\x80" + text[9:])},
	}
	for i := range lines {
		lines[i].key = k
	}
	return lines
}

func oddBlobs(t testing.TB) []oddLine {
	r, e, d := rsaKey(t), ecdsaKey(t, elliptic.P384()), key(t, 23)
	rp, ep, dp := partsOf(t, r.public.Blob()), partsOf(t, e.public.Blob()), partsOf(t, d.public.Blob())
	zeros := func(b []byte) []byte { return append(make([]byte, 5), b...) }
	name := func(s string) []byte { return []byte(s) }
	compressed := append([]byte{2 + ep[2][96]&1}, ep[2][1:49]...)
	off := bytes.Clone(ep[2])
	off[50] ^= 1
	negative := bytes.TrimLeft(rp[2], "\x00")
	var lines []oddLine
	add := func(k testKey, what, kind string, holds bool, blob []byte) {
		lines = append(lines, oddLine{name: kind + " " + what, line: kind + " " + b64(blob), key: k, holds: holds})
	}
	add(r, "plain", "ssh-rsa", true, r.public.Blob())
	add(r, "plain", "rsa-sha2-256", true, r.public.Blob())
	add(r, "plain", "rsa-sha2-512", true, r.public.Blob())
	add(r, "leading zeros", "ssh-rsa", true, blobOf(rp[0], zeros(rp[1]), zeros(rp[2])))
	add(r, "zeros up to the limit", "ssh-rsa", true, blobOf(rp[0], rp[1], append(make([]byte, 2049-len(rp[2])), rp[2]...)))
	add(r, "zeros beyond the limit", "ssh-rsa", false, blobOf(rp[0], rp[1], append(make([]byte, 2050-len(rp[2])), rp[2]...)))
	add(r, "negative modulus", "ssh-rsa", false, blobOf(rp[0], rp[1], negative))
	add(r, "signature name inside", "ssh-rsa", true, blobOf(name("rsa-sha2-512"), rp[1], rp[2]))
	add(r, "short name inside", "ssh-rsa", true, blobOf(name("rSa"), rp[1], rp[2]))
	add(r, "NUL behind the name", "ssh-rsa", true, blobOf(name("ssh-rsa\x00"), rp[1], rp[2]))
	add(r, "NUL in the name", "ssh-rsa", false, blobOf(name("ssh-rsa\x00\x00"), rp[1], rp[2]))
	add(r, "one byte more", "ssh-rsa", false, append(r.public.Blob(), 0))
	add(r, "one byte less", "ssh-rsa", false, r.public.Blob()[:len(r.public.Blob())-1])
	add(r, "huge length", "ssh-rsa", false, []byte("\xff\xff\xff\xffssh-rsa"))
	add(r, "empty", "ssh-rsa", false, nil)
	add(e, "plain", "ecdsa-sha2-nistp384", true, e.public.Blob())
	add(e, "as another curve", "ecdsa-sha2-nistp256", false, e.public.Blob())
	add(e, "other curve inside", "ecdsa-sha2-nistp384", false, blobOf(ep[0], name("nistp256"), ep[2]))
	add(e, "NUL behind the curve", "ecdsa-sha2-nistp384", true, blobOf(ep[0], name("nistp384\x00"), ep[2]))
	add(e, "short name inside", "ecdsa-sha2-nistp384", false, blobOf(name("ECDSA"), ep[1], ep[2]))
	add(e, "compressed point", "ecdsa-sha2-nistp384", false, blobOf(ep[0], ep[1], compressed))
	add(e, "point off the curve", "ecdsa-sha2-nistp384", false, blobOf(ep[0], ep[1], off))
	add(e, "empty point", "ecdsa-sha2-nistp384", false, blobOf(ep[0], ep[1], nil))
	add(d, "short name inside", "ssh-ed25519", true, blobOf(name("ed25519"), dp[1]))
	add(d, "33 bytes", "ssh-ed25519", false, blobOf(dp[0], append(bytes.Clone(dp[1]), 0)))
	return lines
}

func TestLinesAreReadAsSSHDReadsThem(t *testing.T) {
	for _, o := range oddLines(t) {
		c := Read([]byte(o.line), testARN)
		var got, accepted bool
		for _, e := range c.Foreign {
			got = got || e.Fingerprint == o.key.fp()
			accepted = accepted || e.Fingerprint == o.key.fp() && e.Ignored == ""
		}
		if got != o.holds || accepted != o.accepts() {
			t.Errorf("%s: holds the key: %v, want %v; accepts it: %v, want %v (%+v)", o.name, got, o.holds, accepted, o.accepts(), c)
		}
	}
}

func TestRetiredKeysAreRemovedFromEveryLineThatSSHDCanRead(t *testing.T) {
	for _, o := range oddLines(t) {
		p := planOf(key(t, 1))
		p.Retired = []string{o.key.fp()}
		res := merged(t, "# top\n"+o.line+"\n# end\n", p)
		if kept := bytes.Contains(res.Bytes, []byte(o.line+"\n")); kept == o.holds {
			t.Errorf("%s: the line stays: %v", o.name, kept)
		}
	}
}

func TestShortRSAKeysAreNotKeys(t *testing.T) {
	for bits, want := range map[int]bool{1023: false, 1024: true} {
		n := new(big.Int).SetBit(big.NewInt(12345), bits-1, 1).Bytes()
		if n[0]&0x80 != 0 {
			n = append([]byte{0}, n...)
		}
		blob := blobOf([]byte("ssh-rsa"), []byte{1, 0, 1}, n)
		if c := Read([]byte("ssh-rsa "+b64(blob)), testARN); len(c.Foreign) == 1 != want {
			t.Errorf("RSA of %d bits: %+v", bits, c)
		}
	}
}

func TestOtherKeyFormats(t *testing.T) {
	point := partsOf(t, ecdsaKey(t, elliptic.P256()).public.Blob())[2]
	number, name := []byte{17}, func(s string) []byte { return []byte(s) }
	for want, blob := range map[string][]byte{
		"ssh-dss":                                     blobOf(name("ssh-dss"), number, number, number, number),
		"sk-ssh-ed25519@openssh.com":                  blobOf(name("sk-ssh-ed25519@openssh.com"), make([]byte, 32), name("ssh:")),
		"sk-ecdsa-sha2-nistp256@openssh.com":          blobOf(name("sk-ecdsa-sha2-nistp256@openssh.com"), name("nistp256"), point, name("ssh:")),
		"webauthn-sk-ecdsa-sha2-nistp256@openssh.com": blobOf(name("sk-ecdsa-sha2-nistp256@openssh.com"), name("nistp256"), point, name("ssh:")),
	} {
		if c := Read([]byte(want+" "+b64(blob)), testARN); len(c.Foreign) != 1 {
			t.Errorf("%s: %+v", want, c)
		}
	}
	p521 := ecdsaKey(t, elliptic.P521())
	if c := Read([]byte(p521.line()), testARN); len(c.Foreign) != 1 || c.Foreign[0].Fingerprint != p521.fp() {
		t.Errorf("P-521: %+v", c)
	}
}

func TestValidateOptions(t *testing.T) {
	for _, s := range []string{"", "restrict", `from="10.0.0.0/8,!10.1.2.3",command="a \" b",no-pty`, `expiry-time="20991231"`} {
		if err := ValidateOptions(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{
		" ", "no-pty ", " no-pty", "no-pty ssh-rsa", `command="a`, `command="a" b`, "a\nb", "no-pty\r", "a\x00", "a\x7f", `from="a` + "\n" + `"`,
		",", ",pty", "pty,", "pty,,no-pty", "cert-authority", `restrict,principals="x"`, "nonsense", "#", "ssh-ed25519", strings.Repeat("pty,", 1100) + "pty",
	} {
		if err := ValidateOptions(s); err == nil {
			t.Errorf("%q passes", s)
		}
	}
}
