// Package keystore fetches and publishes the keyset in AWS Secrets Manager. It is the only place that knows
// how a keyset is stored there. It never touches the key-pair secret.
package keystore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/rotatessh/rotatessh/common/keyset"
)

const labelCurrent = "AWSCURRENT"

// Getter is what reading needs of the SDK's client.
type Getter interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// Document is a keyset as it stands in Secrets Manager.
type Document struct {
	Keyset    keyset.Keyset
	ARN       string // of the keyset secret
	VersionID string // that AWSCURRENT marks
}

var (
	// ErrDenied says that the caller may not read the keyset secret.
	ErrDenied = errors.New("access to the keyset secret is denied")
	// ErrNotFound says that there is no such secret, or that it has no current version.
	ErrNotFound = errors.New("the keyset secret does not exist or has no current version")
)

// Reader fetches one keyset secret. It is safe for concurrent use.
type Reader struct {
	api Getter
	id  string
}

// NewReader gives a reader of the secret with that name or ARN.
func NewReader(api Getter, id string) *Reader { return &Reader{api: api, id: id} }

// Fetch reads and validates the current keyset. Where the secret holds {} the error is keyset.ErrEmpty, and
// where it holds anything else that is not a keyset, a *keyset.Invalid; in both cases the Document's ARN
// and VersionID are set. ErrDenied and ErrNotFound tell the common faults of configuration apart.
func (r *Reader) Fetch(ctx context.Context) (Document, error) {
	out, err := r.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &r.id, VersionStage: aws.String(labelCurrent)})
	if err != nil {
		return Document{}, fmt.Errorf("reading keyset secret %q: %w", r.id, classify(err))
	}
	doc := Document{ARN: aws.ToString(out.ARN), VersionID: aws.ToString(out.VersionId)}
	value := []byte(aws.ToString(out.SecretString))
	if out.SecretString == nil {
		value = out.SecretBinary
	}
	doc.Keyset, err = keyset.Parse(value)
	if err != nil {
		return doc, fmt.Errorf("reading keyset secret %q version %s: %w", r.id, doc.VersionID, err)
	}
	return doc, nil
}

// classify adds our sentinel to the SDK's error where a caller branches on it.
func classify(err error) error {
	var coded interface{ ErrorCode() string }
	if !errors.As(err, &coded) {
		return err
	}
	switch coded.ErrorCode() {
	case "AccessDeniedException":
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case (&types.ResourceNotFoundException{}).ErrorCode():
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}
