package authkeys

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
)

// longRun, when set, makes the tests with random lines run a hundred times longer.
const longRun = "ROTATESSH_TEST_LONG"

func rounds(short int) int {
	if os.Getenv(longRun) != "" {
		return 100 * short
	}
	return short
}

// seeded returns a source of random numbers whose seed is in the test's log.
func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// keygenSees returns the fingerprints that ssh-keygen -l finds, sorted.
func keygenSees(t *testing.T, text string) []string {
	t.Helper()
	program, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("not run: needs OpenSSH's ssh-keygen")
	}
	file := filepath.Join(t.TempDir(), "authorized_keys")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "-lf", file).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && strings.Contains(string(exit.Stderr), "No user exists") {
		t.Skip("not run: ssh-keygen needs a user who is in the user database")
	}
	if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && strings.Contains(string(exit.Stderr), "is not a public key file")) {
		t.Fatalf("ssh-keygen: %v", err)
	}
	var found []string
	for _, m := range regexp.MustCompile(`(?m)^[0-9]+ (SHA256:\S{43}) `).FindAllSubmatch(out, -1) {
		found = append(found, string(m[1]))
	}
	slices.Sort(found)
	return found
}

func weSee(text string) []string {
	var found []string
	for _, e := range Read([]byte(text), testARN).Foreign {
		found = append(found, e.Fingerprint)
	}
	slices.Sort(found)
	return found
}

func TestSSHKeygenFindsTheSameKeys(t *testing.T) {
	for _, o := range oddLines(t) {
		if o.elsewhere {
			continue
		}
		if want, got := keygenSees(t, o.line+"\n"), weSee(o.line); !slices.Equal(want, got) {
			t.Errorf("%s: ssh-keygen finds %v, we find %v", o.name, want, got)
		}
	}
}

func TestSSHKeygenFindsTheSameKeysInRandomLines(t *testing.T) {
	rng := seeded(t)
	for range rounds(20) {
		var b strings.Builder
		for range 200 {
			b.WriteString(randomLine(rng, key(t, byte(rng.Uint())), false) + "\n")
		}
		text := b.String()
		want, got := keygenSees(t, text), weSee(text)
		if slices.Equal(want, got) {
			continue
		}
		for line := range strings.Lines(text) {
			if want, got := keygenSees(t, line), weSee(line); !slices.Equal(want, got) {
				t.Fatalf("in %q ssh-keygen finds %v, we find %v", line, want, got)
			}
		}
		t.Fatalf("ssh-keygen finds %d keys in 200 lines, we find %d, but line by line they agree", len(want), len(got))
	}
}

// randomLine makes a line around a key from parts that matter to a parser. Lines for sshd alone may have any number of blanks and
// digits behind the options, where ssh-keygen differs.
func randomLine(rng *rand.Rand, k testKey, forSSHD bool) string {
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	often := func(usual string, others ...string) string {
		if rng.IntN(4) > 0 {
			return usual
		}
		return pick(others...)
	}
	line := often("", " ", "\t", " \t ", "\r", "#", "\x00", "\v")
	if rng.IntN(2) == 0 {
		for n := rng.IntN(3); n >= 0; n-- {
			line += pick("no-pty", "restrict", "nonsense", `command="a b"`, `command="\""`, `command="a`, `from="127.0.0.1"`, `"`, `\"`, `\`,
				"cert-authority", `environment="A=b"`, "ssh-ed25519", "=", "é", "\r", `x"y z"`, "NO-user-RC")
			line += often(",", "", ",,")
		}
		line = strings.TrimSuffix(line, ",") + often(" ", "\t")
		if forSSHD {
			line += often("", " ", "\t \t")
		}
	}
	text := k.text()
	at := 1 + rng.IntN(len(text)-1)
	text = often(text, text[:at]+"\f"+text[at:], text[:at]+"\r"+text[at:], text[:at]+"\x00"+text[at:], text[:at]+"\v"+text[at:],
		text[:at]+"="+text[at:], text[:at]+"\""+text[at:], text[:at]+" "+text[at:], text[:at]+"A"+text[at+1:], text[:at], text+"=", text+"AAAA")
	line += often("ssh-ed25519", "ssh-rsa", "Ed25519", "ssh-ed25519\r", "\"ssh-ed25519\"", "ssh-ed25519-cert-v01@openssh.com")
	line += often(" ", "\t", "  ", " \t", "", "\r", ",") + text
	return line + often(" me", "", "\r", "\t# me", " a\x00b", " \"", " "+k.line())
}

// A daemon is an sshd that reads one file of ours for the user who runs the test.
type daemon struct {
	*sshdtest.Server
	user string
}

func startDaemon(t *testing.T) daemon {
	t.Helper()
	if os.Geteuid() == 0 {
		// sshd wants this empty folder when root starts it; packages make it at boot.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Skipf("not run: %v", err)
		}
	}
	return daemon{sshdtest.Start(t, "MaxStartups 1000", "LoginGraceTime 60"), sshdtest.User(t)}
}

// accepts reports whether a log-in with the key succeeds.
func (d daemon) accepts(t *testing.T, k testKey) bool {
	t.Helper()
	conn, err := net.DialTimeout("tcp", d.Address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	handshaken := false
	client, _, _, err := ssh.NewClientConn(conn, d.Address, &ssh.ClientConfig{
		User: d.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(k.signer)},
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { handshaken = true; return nil },
	})
	if err == nil {
		client.Close()
		return true
	}
	if !handshaken || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Fatalf("no answer from sshd: %v", err)
	}
	return false
}

func TestSSHDAcceptsTheSameLines(t *testing.T) {
	d := startDaemon(t)
	for _, o := range oddLines(t) {
		d.Allow(t, d.user, o.line)
		if got := d.accepts(t, o.key); got != o.accepts() {
			t.Errorf("%s: sshd accepts the key: %v, we say %v", o.name, got, o.accepts())
		}
	}
}

func TestSSHDAcceptsTheSameRandomLines(t *testing.T) {
	d, rng := startDaemon(t), seeded(t)
	for range rounds(1) {
		var keys []testKey
		var lines []string
		for i := range byte(60) {
			k := key(t, i)
			keys, lines = append(keys, k), append(lines, randomLine(rng, k, true))
		}
		d.Allow(t, d.user, lines...)
		c := Read([]byte(strings.Join(lines, "\n")), testARN)
		for i, k := range keys {
			want := slices.ContainsFunc(c.Foreign, func(e Entry) bool { return e.Fingerprint == k.fp() && e.Ignored == "" })
			if got := d.accepts(t, k); got != want {
				t.Errorf("line %q: sshd accepts the key: %v, we say %v", lines[i], got, want)
			}
		}
	}
}

// A retired key must not survive where sshd would still accept it, whatever its line looks like.
func TestNoLogInSucceedsWithARetiredKeyAfterAMerge(t *testing.T) {
	d, rng := startDaemon(t), seeded(t)
	var p Plan
	keys := map[string]testKey{}
	var lines []string
	for i := range byte(40) {
		k := key(t, 100+i)
		keys[k.fp()] = k
		lines = append(lines, randomLine(rng, k, true))
	}
	for _, o := range oddLines(t) {
		keys[o.key.fp()] = o.key
		lines = append(lines, o.line)
	}
	current := key(t, 1)
	p = planOf(current)
	for fp := range keys {
		p.Retired = append(p.Retired, fp)
	}
	res := merged(t, strings.Join(lines, "\n")+"\n", p)
	d.Allow(t, d.user, strings.TrimSuffix(string(res.Bytes), "\n"))
	if !d.accepts(t, current) {
		t.Error("sshd refuses the plan's key")
	}
	for fp, k := range keys {
		if d.accepts(t, k) {
			t.Errorf("sshd still accepts %s from %q", fp, res.Bytes)
		}
	}
}
