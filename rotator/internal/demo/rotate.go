package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

const (
	labelCurrent = "AWSCURRENT"
	labelPending = "AWSPENDING"
	pollEvery    = 50 * time.Millisecond
)

// Rotation is one rotation that has been completed: AWSCURRENT marks its version.
type Rotation struct {
	VersionID string
	Pair      keypair.Pair
	Previous  []keypair.Pair // every pair that was current before, oldest first
}

// Rotate runs one rotation from its start to the switch. The first one also enables rotation. The old key
// may still be accepted when it returns: see Settle.
func (f *Fleet) Rotate(ctx context.Context) (Rotation, error) {
	versionID, err := f.StartRotation(ctx)
	if err != nil {
		return Rotation{}, err
	}
	return f.AwaitRotation(ctx, versionID)
}

// StartRotation asks Secrets Manager for a rotation and gives the version that it is about.
func (f *Fleet) StartRotation(ctx context.Context) (versionID string, err error) {
	ctx, cancel := f.bound(ctx)
	defer cancel()
	first := f.nextRotation() == 1
	in := &secretsmanager.RotateSecretInput{SecretId: aws.String(secretName)}
	if first {
		in.RotationLambdaARN = &f.resources.functionARN
		in.RotationRules = &types.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)}
	}
	out, err := f.aws.secrets.RotateSecret(ctx, in)
	if err != nil {
		return "", fmt.Errorf("starting a rotation: %w", err)
	}
	return aws.ToString(out.VersionId), nil
}

// nextRotation counts a rotation that is about to start.
func (f *Fleet) nextRotation() (n int) {
	f.mu.Lock()
	f.rotations++
	n = f.rotations
	f.mu.Unlock()
	f.watch.retire("")
	return n
}

// rotationName is how progress calls the present rotation. Nobody knows how many a scenario will have.
func (f *Fleet) rotationName() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.options.scenario {
		return fmt.Sprintf("rotation %d", f.rotations)
	}
	return fmt.Sprintf("rotation %d of %d", f.rotations, f.options.Rotations)
}

// AwaitRotation waits until AWSCURRENT marks the version and AWSPENDING is gone.
func (f *Fleet) AwaitRotation(ctx context.Context, versionID string) (Rotation, error) {
	ctx, cancel := f.bound(ctx)
	defer cancel()
	err := until(ctx, func() (bool, error) {
		out, err := f.aws.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: aws.String(secretName)})
		if err != nil {
			return false, err
		}
		return rotated(out.VersionIdsToStages, versionID), nil
	})
	if err != nil {
		err = fmt.Errorf("waiting for the rotation to end: %w", err)
		if report := f.lastReport(); report != nil {
			err = fmt.Errorf("%w; %w", err, report)
		}
		return Rotation{}, f.withLogs(err)
	}
	pair, err := f.CurrentPair(ctx)
	if err != nil {
		return Rotation{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r := Rotation{VersionID: versionID, Pair: pair, Previous: slices.Clone(f.pairs)}
	f.pairs = append(f.pairs, pair)
	return r, nil
}

func rotated(stages map[string][]string, versionID string) bool {
	for version, labels := range stages {
		if version != versionID && slices.Contains(labels, labelPending) {
			return false
		}
	}
	return slices.Contains(stages[versionID], labelCurrent) && !slices.Contains(stages[versionID], labelPending)
}

// lastReport is the rotator's own latest word, as an error if it reports a failure.
func (f *Fleet) lastReport() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	reports, err := f.ledger.Reports(ctx, f.resources.secretARN, 1)
	if err != nil || len(reports) == 0 || reports[0].Passed {
		return nil
	}
	return fmt.Errorf("the rotator reported about %s: %s", reports[0].Phase, reports[0].Message)
}

// CurrentPair reads the pair that a controller logs in with.
func (f *Fleet) CurrentPair(ctx context.Context) (keypair.Pair, error) {
	out, err := f.aws.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{
		SecretId: aws.String(secretName), VersionStage: aws.String(labelCurrent),
	})
	if err != nil {
		return keypair.Pair{}, fmt.Errorf("reading the current key pair: %w", err)
	}
	pair, err := keypair.Decode([]byte(aws.ToString(out.SecretString)))
	if err != nil {
		return keypair.Pair{}, fmt.Errorf("reading the current key pair: %w", err)
	}
	return pair, nil
}

// Settled is what the workers have acknowledged once nothing of a rotation is left to do.
type Settled struct {
	Accepted int // workers whose sshd accepts the new key
	Retired  int // workers whose sshd refuses the key before it
}

// Settle waits until every worker has acknowledged that its sshd accepts r's key and refuses the one before
// it. The error says how many have not.
func (f *Fleet) Settle(ctx context.Context, r Rotation) (Settled, error) {
	ctx, cancel := f.bound(ctx)
	defer cancel()
	old := ""
	if n := len(r.Previous); n > 0 {
		old = r.Previous[n-1].Fingerprint()
		f.watch.retire(old)
	}
	var s Settled
	err := until(ctx, func() (done bool, err error) {
		s, err = f.settled(ctx, r.Pair.Fingerprint(), old)
		want := Settled{Accepted: f.size()}
		if old != "" {
			want.Retired = f.size()
		}
		return s == want, err
	})
	if err != nil {
		err = fmt.Errorf("waiting for %s to accept the new key (by now %d) and to refuse the old one (by now %d): %w",
			plural.Of(f.size(), "worker"), s.Accepted, s.Retired, err)
		return s, f.withLogs(err)
	}
	return s, nil
}

func (f *Fleet) settled(ctx context.Context, current, old string) (Settled, error) {
	var arns []string
	for _, w := range f.Workers() {
		arns = append(arns, w.ARN)
	}
	doc, err := keystore.NewReader(f.aws.secrets, keysetName).Fetch(ctx)
	if err != nil {
		return Settled{}, err
	}
	acks, err := f.ledger.Acks(ctx, f.resources.secretARN, arns, time.Now())
	if err != nil {
		return Settled{}, err
	}
	var s Settled
	for _, ack := range acks {
		if ack.Outcome != ledger.Applied || ack.Generation != doc.Keyset.Generation {
			continue
		}
		if answer(ack, keyset.Current, current) == ledger.Yes {
			s.Accepted++
		}
		if old != "" && answer(ack, stateRetired, old) == ledger.No {
			s.Retired++
		}
	}
	return s, nil
}

// until asks again and again until the answer is yes, and fails with ctx's cause or with the last error.
func until(ctx context.Context, ask func() (bool, error)) error {
	for {
		done, err := ask()
		if done && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if err != nil && !errors.Is(err, ctx.Err()) {
				return errors.Join(context.Cause(ctx), err)
			}
			return context.Cause(ctx)
		case <-time.After(pollEvery):
		}
	}
}
