package rotation_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// secrets are all 24-byte runs, in the forms in which bytes leak, of every private key and RotationToken
// that the endpoint ever had.
func (r *rig) secretRuns() []string {
	r.t.Helper()
	snapshot := r.aws.Snapshot()
	var runs []string
	keys := 0
	for _, value := range snapshot.SecretValues {
		var fields struct{ PrivateKey string }
		if json.Unmarshal([]byte(value), &fields) != nil || fields.PrivateKey == "" {
			continue
		}
		keys++
		block, _ := pem.Decode([]byte(fields.PrivateKey))
		body := strings.ReplaceAll(fields.PrivateKey, "\n", "")
		for i := 40; i+24 <= len(body)-40; i += 24 {
			runs = append(runs, body[i:i+24])
		}
		for i := 0; i+24 <= len(block.Bytes); i += 12 {
			piece := block.Bytes[i : i+24]
			runs = append(runs, string(piece), hex.EncodeToString(piece), base64.StdEncoding.EncodeToString(piece))
		}
	}
	if keys < 2 || len(snapshot.RotationTokens) < 2 {
		r.t.Fatalf("only %d keys and %d tokens to look for", keys, len(snapshot.RotationTokens))
	}
	for _, token := range snapshot.RotationTokens {
		runs = append(runs, token[:24])
	}
	return publicOnes(runs, snapshot)
}

// publicOnes takes out runs that stand in public keys too: an ed25519 private key repeats its public half.
func publicOnes(runs []string, snapshot localaws.Snapshot) []string {
	var public strings.Builder
	for _, value := range snapshot.SecretValues {
		var fields struct{ PublicKey string }
		if json.Unmarshal([]byte(value), &fields) != nil {
			continue
		}
		for f := range strings.FieldsSeq(fields.PublicKey) {
			blob, _ := base64.StdEncoding.DecodeString(f)
			public.WriteString(f + " " + string(blob) + " " + hex.EncodeToString(blob) + " ")
			for i := range blob {
				public.WriteString(base64.StdEncoding.EncodeToString(blob[i:]) + " ")
			}
		}
	}
	kept := runs[:0]
	for _, run := range runs {
		if !strings.Contains(public.String(), strings.TrimRight(run, "=")) {
			kept = append(kept, run)
		}
	}
	return kept
}

func TestNoPrivateKeyAndNoRotationTokenIsEverShown(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	r := newRig(t, 2, func(r *rig) {
		core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zap.DebugLevel)
		r.log = zap.New(core)
	})
	r.followPublications()
	r.rotate()
	// Every call of the step that makes the key fails in turn, and each error is text that somebody sees.
	for n := 1; ; n++ {
		token := r.startRotation()
		calls, err := r.during("createSecret", token, n, failed)
		fmt.Fprintln(&out, err)
		r.complete(completions()[0].run(r, token))
		if calls < n {
			break
		}
	}
	for kind, req := range map[string]operator.Request{"revoke": r.revocation(1), "wrong": r.back("a", "b")} {
		answer, err := r.ask(t.Context(), req)
		fmt.Fprintf(&out, "%s: %+v %v\n", kind, answer, err)
	}
	r.probeErr = func(w fleet.Worker) error { return fmt.Errorf("%s: auth", w.ID) }
	token := r.startRotation()
	for _, s := range steps()[:3] {
		fmt.Fprintln(&out, r.step(t.Context(), s, token))
	}
	snapshot := r.aws.Snapshot()
	items, err := json.Marshal(snapshot.Items)
	if err != nil {
		t.Fatal(err)
	}
	text := out.String() + string(items) + fmt.Sprintf("%s", snapshot.Events)
	runs := r.secretRuns()
	for _, run := range runs {
		if i := strings.Index(text, run); i >= 0 {
			t.Fatalf("%q is shown in %q", run, text[max(0, i-200):min(len(text), i+100)])
		}
	}
	if planted := snapshot.RotationTokens[1]; !anyIn(planted, runs) {
		t.Error("the search does not find a token that is there")
	}
	_, pair := r.labelled("AWSPENDING")
	if planted, err := pair.Encode("v"); err != nil || !anyIn(planted, runs) {
		t.Error("the search does not find a private key that is there")
	}
	if len(text) < 10_000 {
		t.Errorf("only %d bytes were searched", len(text))
	}
}

func anyIn(text string, runs []string) bool {
	return slices.ContainsFunc(runs, func(run string) bool { return strings.Contains(text, run) })
}
