package keypair_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

// hidden is the shape in which a pair is printed by accident: inside something else, unexported.
type hidden struct {
	pair  keypair.Pair
	pairs []keypair.Pair
	any   any
}

func TestPairNeverShowsItsPrivateHalf(t *testing.T) {
	for _, kind := range types() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			pair := generate(t, kind)
			_, fields := encode(t, pair, "v1")
			out := everyWayOut(t, pair)
			for _, needle := range runs(fields["PrivateKey"]) {
				if strings.Contains(out, needle) {
					t.Fatalf("output holds %q of the private key", needle)
				}
			}
			if !strings.Contains(out, pair.Fingerprint()) {
				t.Error("output does not name the key's fingerprint")
			}
			if planted := out + fields["PrivateKey"]; !containsAny(planted, runs(fields["PrivateKey"])) {
				t.Error("the search does not find a key that is there")
			}
		})
	}
}

func everyWayOut(t *testing.T, pair keypair.Pair) string {
	t.Helper()
	var out bytes.Buffer
	h := hidden{pair, []keypair.Pair{pair}, pair}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%100v"} {
		fmt.Fprintf(&out, verb+"\n", pair)
		fmt.Fprintf(&out, verb+"\n", &pair)
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", &h)
		fmt.Fprintf(&out, verb+"\n", []any{pair, map[string]keypair.Pair{"k": pair}})
	}
	fmt.Fprintln(&out, errors.Join(fmt.Errorf("wrapping %v", pair), fmt.Errorf("%+v", h)))
	marshalled, err := json.Marshal(map[string]any{"pair": pair, "pointer": &pair, "hidden": h})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(marshalled)
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zap.DebugLevel)
	zap.New(core).Debug("pair", zap.Object("object", pair), zap.Stringer("stringer", pair), zap.Any("any", pair), zap.Reflect("reflect", pair), zap.Any("hidden", h))
	slog.New(slog.NewTextHandler(&out, nil)).Info("pair", "pair", pair, "hidden", h)
	return out.String()
}

// runs are pieces of a PEM key in the forms in which bytes leak: as they are, decoded, in hex, and as the
// decimal numbers of a byte slice.
func runs(private string) []string {
	block, _ := pem.Decode([]byte(private))
	var found []string
	for i := 0; i+24 <= len(block.Bytes); i += 24 {
		run := block.Bytes[i : i+24]
		decimal := strings.Trim(fmt.Sprint(string(run)), "[]")
		found = append(found, string(run), hex.EncodeToString(run), strings.ToUpper(hex.EncodeToString(run)), base64.StdEncoding.EncodeToString(run), decimal)
	}
	for line := range strings.SplitSeq(private, "\n") {
		if len(line) >= 24 && !strings.HasPrefix(line, "-----") {
			found = append(found, line)
		}
	}
	return found
}

func containsAny(s string, needles []string) bool {
	for _, n := range needles {
		if strings.Contains(s, n) {
			return true
		}
	}
	return false
}

func TestErrorsQuoteNothingOfTheSecret(t *testing.T) {
	pair := generate(t, keypair.ED25519)
	value, fields := encode(t, pair, "v1")
	for name, spoilt := range map[string]string{
		"cut in the middle": value[:len(value)*2/3],
		"another start":     "x" + value,
		"key as a number":   `{"PrivateKey": 123456789012345678901234567890}`,
		"key as a list":     `{"PrivateKey": [` + value + `]}`,
		"half a key":        `{"PrivateKey": "` + strings.ReplaceAll(fields["PrivateKey"][:200], "\n", `\n`) + `"}`,
		"public is private": strings.Replace(value, `"PublicKey":"`, `"PublicKey":"`+base64.StdEncoding.EncodeToString([]byte(fields["PrivateKey"])), 1),
	} {
		_, err := keypair.Decode([]byte(spoilt))
		if err == nil {
			t.Errorf("%s: was read", name)
			continue
		}
		if containsAny(err.Error(), runs(fields["PrivateKey"])) || strings.Contains(err.Error(), "123456789012345678") {
			t.Errorf("%s: the error quotes the secret: %v", name, err)
		}
	}
}
