package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

const (
	labelCurrent  = "AWSCURRENT"
	labelPending  = "AWSPENDING"
	labelPrevious = "AWSPREVIOUS"
)

// errAbsent says that a version has no value, or that the value or its label cannot be seen yet.
var errAbsent = errors.New("the version has no value")

// secret is what Secrets Manager says about the key-pair secret, values aside.
type secret struct {
	arn      string
	enabled  bool // rotation is switched on
	replicas int
	stages   map[string][]string
}

// holder is the version that a label marks, or "".
func (s secret) holder(label string) string {
	for version, labels := range s.stages {
		if slices.Contains(labels, label) {
			return version
		}
	}
	return ""
}

// pending is the version that AWSPENDING marks, unless AWSCURRENT has reached it: then it is just left over.
func (s secret) pending() string {
	if version := s.holder(labelPending); version != s.holder(labelCurrent) {
		return version
	}
	return ""
}

func (r *Rotator) describe(ctx context.Context, secretARN string) (secret, error) {
	out, err := r.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &secretARN})
	if err != nil {
		return secret{}, fmt.Errorf("describing secret %q: %w", secretARN, err)
	}
	return secret{
		arn: secretARN, enabled: aws.ToBool(out.RotationEnabled), replicas: len(out.ReplicationStatus), stages: out.VersionIdsToStages,
	}, nil
}

// pair reads the key pair of a version that bears a label. Asking for both makes Secrets Manager refuse if
// the label has moved on, where a version alone would be answered from any state. errAbsent stands for
// that, for an empty version, and for a write that cannot be seen yet.
func (r *Rotator) pair(ctx context.Context, secretARN, versionID, label string) (keypair.Pair, error) {
	pair, _, err := r.datedPair(ctx, secretARN, versionID, label)
	return pair, err
}

// datedPair also tells when the version was made.
func (r *Rotator) datedPair(ctx context.Context, secretARN, versionID, label string) (keypair.Pair, time.Time, error) {
	if versionID == "" {
		return keypair.Pair{}, time.Time{}, fmt.Errorf("secret %q has no %s version: %w", secretARN, label, errAbsent)
	}
	out, err := r.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &secretARN, VersionId: &versionID, VersionStage: &label})
	if _, none := errors.AsType[*types.ResourceNotFoundException](err); none || movedOn(err) {
		return keypair.Pair{}, time.Time{}, fmt.Errorf("reading %s version %q: %w", label, versionID, errAbsent)
	}
	if err != nil {
		return keypair.Pair{}, time.Time{}, fmt.Errorf("reading %s version %q: %w", label, versionID, err)
	}
	value := []byte(aws.ToString(out.SecretString))
	if out.SecretString == nil {
		value = out.SecretBinary
	}
	pair, err := keypair.Decode(value)
	if err != nil {
		return keypair.Pair{}, time.Time{}, fmt.Errorf("reading %s version %q: %w", label, versionID, err)
	}
	return pair, aws.ToTime(out.CreatedDate), nil
}

// movedOn recognises the answer that a label has left the version which was asked for.
func movedOn(err error) bool {
	invalid, ok := errors.AsType[*types.InvalidRequestException](err)
	return ok && strings.Contains(invalid.ErrorMessage(), "VersionStage")
}

// lag is the first of the waits for a read that may lag a write.
const lag = 100 * time.Millisecond

// settle repeats a read whose result may lag a write, with growing waits, while it says again. Its last
// error stands.
func (r *Rotator) settle(ctx context.Context, read func() (again bool, err error)) error {
	const tries = 4
	for i := range tries {
		again, err := read()
		if !again || i == tries-1 {
			return err
		}
		if err := sleep(ctx, r.lag<<i); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
