package demo

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

// run is how many bytes of a secret in a row are a leak; base64 and hex make 32 and 48 characters of them.
const run = 24

var windows = []int{run, run / 3 * 4, run * 2}

// needles are all runs of some secrets in the forms in which they could leak.
type needles map[string]struct{}

// add puts in every run of data as it is, and as base64 and hex would show it wherever it began.
func (n needles) add(data []byte) {
	n.slide(data, run)
	for shift := range min(3, len(data)) {
		// Whole groups only: the last characters depend on what follows.
		whole := data[shift : shift+(len(data)-shift)/3*3]
		n.slide([]byte(base64.RawStdEncoding.EncodeToString(whole)), run/3*4)
		n.slide([]byte(base64.RawURLEncoding.EncodeToString(whole)), run/3*4)
	}
	n.slide([]byte(hex.EncodeToString(data)), run*2)
	n.slide([]byte(strings.ToUpper(hex.EncodeToString(data))), run*2)
}

func (n needles) slide(data []byte, width int) {
	for i := 0; i+width <= len(data); i++ {
		n[string(data[i:i+width])] = struct{}{}
	}
}

// remove takes out what is no secret.
func (n needles) remove(other needles) {
	for k := range other {
		delete(n, k)
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

// addPrivate puts in a key pair's PEM text and what it encodes.
func (n needles) addPrivate(t *testing.T, value string) {
	t.Helper()
	var secret struct{ PrivateKey string }
	if err := json.Unmarshal([]byte(value), &secret); err != nil {
		t.Fatal(err)
	}
	n.slide([]byte(secret.PrivateKey), run)
	block, _ := pem.Decode([]byte(secret.PrivateKey))
	if block == nil {
		t.Fatal("a private key is not PEM")
	}
	n.add(block.Bytes)
}

// secretsOf collects every private key and rotation token that the endpoint has ever held. What a private
// key's encoding shares with its public half and with any other key's is no secret.
func secretsOf(t *testing.T, s localaws.Snapshot, kind keypair.Type) (n needles, keys, tokens int) {
	t.Helper()
	n = needles{}
	public := needles{}
	for _, value := range s.SecretValues {
		pair, err := keypair.Decode([]byte(value))
		if err != nil {
			continue // a keyset, or {}
		}
		keys++
		n.addPrivate(t, value)
		public.add(pair.PublicKey().Blob())
		public.slide([]byte(pair.PublicKey().String()), run)
	}
	stranger, err := keypair.Generate(kind)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := stranger.Encode("")
	if err != nil {
		t.Fatal(err)
	}
	public.addPrivate(t, encoded)
	n.remove(public)
	for _, token := range s.RotationTokens {
		tokens++
		n.add([]byte(token))
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
			secrets, keys, tokens := secretsOf(t, snapshot, kind)
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
		if json.Unmarshal([]byte(value), &secret) != nil || secret.PrivateKey == "" {
			continue
		}
		block, _ := pem.Decode([]byte(secret.PrivateKey))
		private = privatePart(n, block.Bytes)
		break
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

// privatePart is a run of a key's encoding that is not public.
func privatePart(n needles, encoded []byte) []byte {
	for i := 0; i+run <= len(encoded); i += 3 {
		if _, secret := n[string(encoded[i:i+run])]; secret {
			return encoded[i : i+run]
		}
	}
	return nil
}
