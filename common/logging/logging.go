// Package logging builds the logger of both programs and the fields that they share, so that one name
// means one thing in every log line. Key material has no field: keys are named by fingerprint.
package logging

import (
	"fmt"
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// New gives a logger that writes one JSON object a line to w. Level is debug, info, warn or error. Nothing
// is sampled or buffered: a line is written when the call returns.
func New(w io.Writer, level string) (*zap.Logger, error) {
	parsed, err := zapcore.ParseLevel(level)
	if err != nil || parsed > zapcore.ErrorLevel {
		return nil, fmt.Errorf("log level %q is not one of debug, info, warn, error", level)
	}
	enc := zap.NewProductionEncoderConfig()
	enc.TimeKey = "time"
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	core := zapcore.NewCore(zapcore.NewJSONEncoder(enc), zapcore.Lock(zapcore.AddSync(w)), parsed)
	return zap.New(core), nil
}

// SecretID names a secret by ARN or name.
func SecretID(id string) zap.Field { return zap.String("secret_id", id) }

// VersionID names a version of a secret.
func VersionID(id string) zap.Field { return zap.String("version_id", id) }

// Step names a rotation step.
func Step(step string) zap.Field { return zap.String("step", step) }

// Generation is a keyset's generation.
func Generation(g int64) zap.Field { return zap.Int64("generation", g) }

// Fingerprint names a public key.
func Fingerprint(f string) zap.Field { return zap.String("fingerprint", f) }

// Account names a user account on a worker.
func Account(name string) zap.Field { return zap.String("account", name) }

// File names a file on a worker.
func File(path string) zap.Field { return zap.String("file", path) }

// Worker names a worker by its instance ARN or id.
func Worker(id string) zap.Field { return zap.String("worker", id) }

// Code is a stable reason code.
func Code(code string) zap.Field { return zap.String("code", code) }

// Reason says in a few words why something was done.
func Reason(why string) zap.Field { return zap.String("reason", why) }
