package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

// errNoPair says that a label marks no version with a key pair.
var errNoPair = errors.New("there is no key pair")

// pair reads the key pair that a label marks. The private half lives in the result and nowhere else.
func (b *backend) pair(ctx context.Context, label string) (keypair.Pair, error) {
	out, err := b.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &b.secret, VersionStage: &label})
	var absent *types.ResourceNotFoundException
	if errors.As(err, &absent) && label != labelCurrent {
		return keypair.Pair{}, errNoPair
	}
	if err != nil {
		return keypair.Pair{}, fmt.Errorf("reading %s of %q: %w", label, b.secret, err)
	}
	value := []byte(aws.ToString(out.SecretString))
	if out.SecretString == nil {
		value = out.SecretBinary
	}
	pair, err := keypair.Decode(value)
	clear(value)
	switch {
	case errors.Is(err, keypair.ErrEmpty) && label == labelCurrent:
		return keypair.Pair{}, withHint(fmt.Errorf("reading %s of %q: %w", label, b.secret, err), "make the first one with \"rotatessh rotate --wait\"")
	case errors.Is(err, keypair.ErrEmpty):
		return keypair.Pair{}, errNoPair
	case err != nil:
		return keypair.Pair{}, fmt.Errorf("reading %s of %q: %w", label, b.secret, err)
	}
	return pair, nil
}
