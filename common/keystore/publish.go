package keystore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/keyset"
)

// LabelStaged marks a keyset version that has been written but does not count yet.
const LabelStaged = "ROTATESSH_STAGED"

// API is what publishing needs of the SDK's client.
type API interface {
	Getter
	PutSecretValue(context.Context, *secretsmanager.PutSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error)
	UpdateSecretVersionStage(context.Context, *secretsmanager.UpdateSecretVersionStageInput, ...func(*secretsmanager.Options)) (*secretsmanager.UpdateSecretVersionStageOutput, error)
	DescribeSecret(context.Context, *secretsmanager.DescribeSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error)
}

// ErrConflict says that another publication came first: read again and compute again.
var ErrConflict = errors.New("the keyset was changed by another publication")

// Store reads and publishes one keyset secret. It is safe for concurrent use, also by several processes:
// publication is a compare-and-swap on the version that AWSCURRENT marks.
type Store struct {
	*Reader
	api API
}

// NewStore gives a store for the secret with that name or ARN.
func NewStore(api API, id string) *Store { return &Store{Reader: NewReader(api, id), api: api} }

// Publish makes next the current keyset if from is still the current version, and reads it back. It may be
// repeated after any error: equal documents have equal version ids, so that a repetition writes nothing
// twice. ErrConflict means that from is no longer current and next is not.
//
// The value is first written under LabelStaged, which no worker reads, and then AWSCURRENT is moved away
// from exactly the version that next was computed from. Secrets Manager refuses that move when the label
// has gone elsewhere in between, which makes it the swap.
func (s *Store) Publish(ctx context.Context, from Document, next keyset.Keyset) (Document, error) {
	value, err := next.Encode()
	if err != nil {
		return Document{}, fmt.Errorf("publishing keyset: %w", err)
	}
	token, err := next.Digest()
	if err != nil {
		return Document{}, fmt.Errorf("publishing keyset: %w", err)
	}
	if token != from.VersionID {
		if err := s.swap(ctx, from.VersionID, token, string(value)); err != nil {
			return Document{}, fmt.Errorf("publishing keyset generation %d: %w", next.Generation, err)
		}
	}
	var doc Document
	err = settle(ctx, func() (bool, error) {
		doc, err = s.Fetch(ctx)
		return doc.VersionID == token, err
	})
	if err != nil {
		return Document{}, err
	}
	if doc.VersionID != token {
		return Document{}, fmt.Errorf("publishing keyset generation %d: %w", next.Generation, ErrConflict)
	}
	return doc, nil
}

func (s *Store) swap(ctx context.Context, from, token, value string) error {
	if _, err := s.api.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &s.id, ClientRequestToken: &token, SecretString: &value, VersionStages: []string{LabelStaged},
	}); err != nil {
		return err
	}
	in := &secretsmanager.UpdateSecretVersionStageInput{SecretId: &s.id, VersionStage: aws.String(labelCurrent), MoveToVersionId: &token}
	if from != "" {
		in.RemoveFromVersionId = &from
	}
	_, moveErr := s.api.UpdateSecretVersionStage(ctx, in)
	// Success or not, the labels tell: an answer may be lost after the move took effect.
	current, err := s.settledCurrent(ctx, token)
	if err != nil {
		return errors.Join(moveErr, err)
	}
	switch {
	case current == token:
		return nil
	case moveErr != nil && current == from:
		return moveErr
	default:
		return ErrConflict
	}
}

// settledCurrent gives the version that AWSCURRENT marks, asking again while it is not want.
func (s *Store) settledCurrent(ctx context.Context, want string) (string, error) {
	var current string
	err := settle(ctx, func() (bool, error) {
		out, err := s.api.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &s.id})
		if err != nil {
			return false, err
		}
		current = versionWith(out.VersionIdsToStages, labelCurrent)
		return current == want, nil
	})
	return current, err
}

// settle repeats a read that may lag a write, a few times with growing waits, until it says done or fails.
// Not being done in the end is no error: the reader's last result stands.
func settle(ctx context.Context, read func() (done bool, err error)) error {
	const tries = 4
	for i := range tries {
		done, err := read()
		if err != nil || done || i == tries-1 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond << i):
		}
	}
	return nil
}

func versionWith(stages map[string][]string, label string) string {
	for version, labels := range stages {
		if slices.Contains(labels, label) {
			return version
		}
	}
	return ""
}
