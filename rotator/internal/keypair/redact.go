package keypair

import (
	"encoding/json"
	"fmt"
	"io"

	"go.uber.org/zap/zapcore"
)

// String names the pair by its fingerprint.
func (p Pair) String() string {
	if p.IsZero() {
		return "keypair.Pair(none)"
	}
	return "keypair.Pair(" + p.Fingerprint() + ")"
}

// Format writes String for every verb and flag.
func (p Pair) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// MarshalText gives String.
func (p Pair) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// MarshalJSON gives String as a JSON string.
func (p Pair) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

// MarshalLogObject logs the fingerprint.
func (p Pair) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("fingerprint", p.Fingerprint())
	return nil
}
