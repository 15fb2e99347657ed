package rotation

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

// createSecret makes sure that the token's version holds a key pair. A version's value never changes, so
// the first pair that was stored is the rotation's, whichever run stored it: this step goes by what it
// reads back and never by what it has just made.
func (r *Rotator) createSecret(ctx context.Context, req request) error {
	pair, err := r.pair(ctx, req.secretARN, req.token, labelPending)
	if errors.Is(err, errAbsent) {
		pair, err = r.storeNewPair(ctx, req)
	}
	if err != nil {
		return err
	}
	r.Log.Info("key pair is stored", logging.SecretID(req.secretARN), logging.VersionID(req.token), logging.Fingerprint(pair.Fingerprint()))
	return nil
}

func (r *Rotator) storeNewPair(ctx context.Context, req request) (keypair.Pair, error) {
	pair, err := r.newPair(ctx, req)
	if err != nil {
		return keypair.Pair{}, err
	}
	return r.store(ctx, req, pair)
}

// store puts a pair into the token's version, with AWSPENDING on it, and gives what the version holds then.
func (r *Rotator) store(ctx context.Context, req request, pair keypair.Pair) (keypair.Pair, error) {
	value, err := pair.Encode(req.token)
	if err != nil {
		return keypair.Pair{}, err
	}
	in := &secretsmanager.PutSecretValueInput{
		SecretId: &req.secretARN, ClientRequestToken: &req.token, SecretString: &value, VersionStages: []string{labelPending},
	}
	if req.rotationToken != "" {
		in.RotationToken = aws.String(req.rotationToken)
	}
	_, putErr := r.Secrets.PutSecretValue(ctx, in)
	var exists *types.ResourceExistsException
	if putErr != nil && !errors.As(putErr, &exists) {
		return keypair.Pair{}, fmt.Errorf("storing the new key pair: %w", putErr)
	}
	err = r.settle(ctx, func() (bool, error) {
		pair, err = r.pair(ctx, req.secretARN, req.token, labelPending)
		return errors.Is(err, errAbsent), err
	})
	return pair, err
}

// newPair makes a pair of the type that the policy asks for, or else of the current one's, and keeps what
// else the current secret holds.
func (r *Rotator) newPair(ctx context.Context, req request) (keypair.Pair, error) {
	current, err := r.currentPair(ctx, req.secretARN)
	if err != nil && !errors.Is(err, keypair.ErrEmpty) {
		return keypair.Pair{}, err
	}
	keyType := r.Policy.KeyType
	if keyType == "" {
		keyType = current.Successor()
	}
	pair, err := keypair.Generate(keyType)
	if err != nil {
		return keypair.Pair{}, err
	}
	return pair.WithMembersOf(current), nil
}

func (r *Rotator) currentPair(ctx context.Context, secretARN string) (pair keypair.Pair, err error) {
	err = r.settle(ctx, func() (bool, error) {
		s, err := r.describe(ctx, secretARN)
		if err != nil {
			return false, err
		}
		pair, err = r.pair(ctx, secretARN, s.holder(labelCurrent), labelCurrent)
		return errors.Is(err, errAbsent), err
	})
	return pair, err
}
