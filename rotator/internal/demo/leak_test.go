package demo

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

// run is how many bytes of a secret in a row are a leak; base64 and hex make 32 and 48 characters of them.
const run = 24

var windows = []int{run, run / 3 * 4, run * 2}

// needles are all runs of some secrets in the forms in which they could leak.
type needles map[string]struct{}

// marked is text of which some bytes are secret and the others are framing or public, which stand in many
// places by right.
type marked struct {
	text   []byte
	secret []bool
}

// add puts in every run of m as it is, and as base64 and hex would show it wherever it began.
func (n needles) add(m marked) {
	n.slide(m, run)
	for shift := range min(3, len(m.text)) {
		// Whole groups only: the last characters depend on what follows.
		end := shift + (len(m.text)-shift)/3*3
		whole := marked{m.text[shift:end], m.secret[shift:end]}
		n.slide(whole.encoded(base64.RawStdEncoding.EncodeToString, 6), run/3*4)
		n.slide(whole.encoded(base64.RawURLEncoding.EncodeToString, 6), run/3*4)
	}
	n.slide(m.encoded(hex.EncodeToString, 4), run*2)
	n.slide(m.encoded(func(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }, 4), run*2)
}

// encoded is m in an encoding of so many bits a character.
func (m marked) encoded(encode func([]byte) string, bits int) marked {
	out := marked{text: []byte(encode(m.text))}
	for i := range out.text {
		out.secret = append(out.secret, m.secret[i*bits/8])
	}
	return out
}

// slide puts in every run of that width that is secret for the most part, so that it cannot stand anywhere by
// chance.
func (n needles) slide(m marked, width int) {
	for i := 0; i+width <= len(m.text); i++ {
		secret := 0
		for _, s := range m.secret[i : i+width] {
			if s {
				secret++
			}
		}
		if secret > width*2/3 {
			n[string(m.text[i:i+width])] = struct{}{}
		}
	}
}

// in gives the place of the first run that stands in hay, or -1.
func (n needles) in(hay []byte) int {
	for i := range hay {
		for _, width := range windows {
			if i+width > len(hay) {
				break
			}
			if _, found := n[string(hay[i:i+width])]; found {
				return i
			}
		}
	}
	return -1
}

// addPrivate puts in a private key: its PEM text, also as JSON would quote it, and what that encodes.
func (n needles) addPrivate(t *testing.T, text string) {
	t.Helper()
	decoded := privateParts(t, text)
	n.add(decoded)
	body := decoded.encoded(base64.RawStdEncoding.EncodeToString, 6)
	for _, newline := range []string{"\n", "\\n"} {
		var m marked
		i := 0
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			for _, c := range []byte(line) {
				framing := strings.HasPrefix(line, "-") || c == '='
				m.text, m.secret = append(m.text, c), append(m.secret, !framing && body.secret[i])
				if !framing {
					i++
				}
			}
			m.text, m.secret = append(m.text, newline...), append(m.secret, make([]bool, len(newline))...)
		}
		n.slide(m, run)
	}
}

// privateParts decodes a PEM key and marks the numbers in it that are private.
func privateParts(t *testing.T, text string) marked {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("a private key is not PEM")
	}
	key, err := ssh.ParseRawPrivateKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var parts [][]byte
	switch k := key.(type) {
	case *ed25519.PrivateKey:
		parts = [][]byte{k.Seed()}
	case *ecdsa.PrivateKey:
		d, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		parts = [][]byte{d}
	case *rsa.PrivateKey:
		parts = [][]byte{k.D.Bytes(), k.Primes[0].Bytes(), k.Primes[1].Bytes(),
			k.Precomputed.Dp.Bytes(), k.Precomputed.Dq.Bytes(), k.Precomputed.Qinv.Bytes()}
	default:
		t.Fatalf("a private key is a %T", key)
	}
	m := marked{text: block.Bytes, secret: make([]bool, len(block.Bytes))}
	for _, part := range parts {
		at := bytes.Index(block.Bytes, part)
		if at < 0 || len(part) < run {
			t.Fatal("a private number is not in the key's encoding")
		}
		for i := range part {
			m.secret[at+i] = true
		}
	}
	return m
}

// secretsOf collects every private key and rotation token that the endpoint has ever held.
func secretsOf(t *testing.T, s localaws.Snapshot) (n needles, keys, tokens int) {
	t.Helper()
	n = needles{}
	for _, value := range s.SecretValues {
		var secret struct{ PrivateKey string }
		if json.Unmarshal([]byte(value), &secret) == nil && secret.PrivateKey != "" {
			keys++
			n.addPrivate(t, secret.PrivateKey)
		}
	}
	for _, token := range s.RotationTokens {
		tokens++
		n.add(marked{text: []byte(token), secret: slices.Repeat([]bool{true}, len(token))})
	}
	return n, keys, tokens
}

// haystack is everything in which a secret must not be, by name.
type haystack map[string][]byte

func (h haystack) addFiles(t *testing.T, folder string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		h[path], err = os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // a file that an agent has just replaced
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// addProcesses adds what ps shows of the fleet's processes. The rotator's come and go: what is seen of them
// while rotations run adds up.
func (h haystack) addProcesses(f *Fleet) {
	pids := f.Server().FunctionPIDs(functionName)
	for _, w := range f.Workers() {
		w.mu.Lock()
		pids = append(pids, w.agent.pid(), w.sshd.pid())
		w.mu.Unlock()
	}
	for _, pid := range pids {
		for _, what := range []string{"cmdline", "environ"} {
			name := fmt.Sprintf("/proc/%d/%s", pid, what)
			if data, err := os.ReadFile(name); err == nil {
				h[name] = data
			}
		}
	}
}

// addCalls adds every answer that was an error, and whatever a worker has sent or got.
func (h haystack) addCalls(calls []localaws.Call) {
	for _, c := range calls {
		worker := strings.HasPrefix(c.Principal, "arn:")
		if c.ErrorCode != "" || worker {
			h[fmt.Sprintf("answer %d to %s", c.Seq, c.Action)] = c.Output
		}
		if worker {
			h[fmt.Sprintf("call %d of %s", c.Seq, c.Action)] = c.Input
		}
	}
}

func (h haystack) addState(t *testing.T, s localaws.Snapshot) {
	t.Helper()
	for i, e := range s.Events {
		h[fmt.Sprintf("event %d", i)] = e
	}
	for i, m := range s.Messages {
		h[fmt.Sprintf("message %d", i)] = []byte(m)
	}
	for i, item := range s.Items {
		data, err := json.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		h[fmt.Sprintf("item %d", i)] = data
	}
}

// leaks names the places that hold a run of a secret.
func (h haystack) leaks(n needles) []string {
	var found []string
	for name, hay := range h {
		if i := n.in(hay); i >= 0 {
			found = append(found, fmt.Sprintf("%s at byte %d", name, i))
		}
	}
	return found
}

func TestNoSecretLeavesSecretsManagerButToItsReaders(t *testing.T) {
	for _, kind := range []keypair.Type{keypair.ED25519, keypair.RSA3072, keypair.ECDSAP256} {
		t.Run(string(kind), func(t *testing.T) {
			var endpointLog lockedBuffer
			o := fleetOptions(t)
			o.Workers, o.KeyType, o.LogLevel = 2, string(kind), "debug"
			o.RetireAfter, o.ServerLog = 500*time.Millisecond, &endpointLog
			f := startFleet(t, o)
			failOnce(f)
			hay := haystack{}
			for range 2 {
				versionID, err := f.StartRotation(t.Context())
				if err != nil {
					fatal(t, err)
				}
				hay.addProcesses(f)
				last, err := f.AwaitRotation(t.Context(), versionID)
				if err != nil {
					fatal(t, err)
				}
				hay.addProcesses(f)
				settle(t, f, last)
			}
			if _, err := f.Copy(t.Context(), Rotation{Pair: f.pairs[len(f.pairs)-1]}); err != nil {
				fatal(t, err)
			}
			snapshot := f.Server().Snapshot()
			hay["the endpoint's log"] = []byte(endpointLog.String())
			hay.addFiles(t, f.Folder())
			hay.addCalls(f.Server().Calls())
			hay.addState(t, snapshot)
			secrets, keys, tokens := secretsOf(t, snapshot)
			if keys < 3 || tokens < 12 || len(snapshot.Events) == 0 || len(snapshot.Messages) == 0 || len(snapshot.Items) == 0 {
				t.Fatalf("the search is for %d keys and %d tokens, in %d events, %d messages and %d items",
					keys, tokens, len(snapshot.Events), len(snapshot.Messages), len(snapshot.Items))
			}
			t.Logf("%d keys, %d tokens, %d runs of them, %d places", keys, tokens, len(secrets), len(hay))
			for _, leak := range hay.leaks(secrets) {
				t.Errorf("a secret is in %s", leak)
			}
			findsWhatIsPlanted(t, f, snapshot, secrets)
		})
	}
}

// failOnce makes one call of each kind of the rotator's fail, so that there are error texts to search.
func failOnce(f *Fleet) {
	for _, action := range []string{"PutSecretValue", "GetSecretValue", "UpdateSecretVersionStage"} {
		var done atomic.Bool
		f.Server().OnCall(localaws.Fault{
			Service: "secretsmanager", Action: action,
			Match: func(c localaws.Call) bool { return c.Principal == functionName },
			Before: func(localaws.Call) error {
				if done.Swap(true) {
					return nil
				}
				return &localaws.APIError{Code: "AccessDeniedException", Message: "planted failure"}
			},
		})
	}
}

// findsWhatIsPlanted checks that the search would have found a secret: a piece of each kind, in each form, in
// a worker's folder.
func findsWhatIsPlanted(t *testing.T, f *Fleet, s localaws.Snapshot, n needles) {
	t.Helper()
	token := []byte(s.RotationTokens[0])[2 : 2+run]
	var private []byte
	for _, value := range s.SecretValues {
		var secret struct{ PrivateKey string }
		if json.Unmarshal([]byte(value), &secret) == nil && secret.PrivateKey != "" {
			m := privateParts(t, secret.PrivateKey)
			at := slices.Index(m.secret, true)
			private = m.text[at : at+run]
			break
		}
	}
	for what, piece := range map[string][]byte{"token": token, "private key": private} {
		for form, planted := range map[string][]byte{
			"raw":    piece,
			"base64": []byte(base64.StdEncoding.EncodeToString(piece)),
			"hex":    []byte(hex.EncodeToString(piece)),
		} {
			path := f.Workers()[0].file("planted")
			noise := make([]byte, 100)
			if _, err := rand.Read(noise); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, bytes.Join([][]byte{noise, planted, noise}, nil), 0o600); err != nil {
				t.Fatal(err)
			}
			hay := haystack{}
			hay.addFiles(t, f.Folder())
			if leaks := hay.leaks(n); len(leaks) != 1 || !strings.HasPrefix(leaks[0], path) {
				t.Errorf("a %s planted as %s in %s: found %q", what, form, path, leaks)
			}
		}
	}
}
