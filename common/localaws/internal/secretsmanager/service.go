// Package secretsmanager is AWS Secrets Manager as far as rotation needs it: secrets, versions, staging
// labels, and a rotation that drives a Lambda function through its four steps.
//
// It promises AWS's rules for labels and tokens, since a rotator stands or falls with them: a label sits
// on one version at a time, AWSPREVIOUS follows AWSCURRENT, AWSPENDING sits on an empty version before
// createSecret, and a failed rotation is retried from createSecret under the same token.
//
// Caveat: nothing rotates on a schedule; RotationRules are kept and shown only. Resource policies do
// not exist, and a replica is listed but never made.
package secretsmanager

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Deps is what the service needs from the rest of localaws.
type Deps struct {
	Region, Account string
	Log             *zap.Logger

	// FunctionExists tells whether a Lambda function ARN can be invoked.
	FunctionExists func(arn string) bool
	// Invoke runs a rotation function synchronously; an error means that the step failed.
	Invoke func(ctx context.Context, functionARN string, payload []byte) error
	// Emit puts an event on the default bus. It is called without locks held.
	Emit func(Event)

	RetryAfter       time.Duration // between a failed rotation and its next attempt
	KeepVersions     time.Duration // how long a version without labels is safe from removal
	EmptyTestVersion bool          // the temporary version of a RotateImmediately=false test has no value
}

// Event is an event that Secrets Manager sends to EventBridge.
type Event struct {
	DetailType string
	Resources  []string
	Detail     any
}

// Service holds every secret. Its methods may be called by many goroutines at once.
type Service struct {
	deps Deps
	ctx  context.Context // ends at Close; rotations live on it, not on the call that started them
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	secrets map[string]*secret // by name
	outbox  []Event            // sent by whoever unlocks
	tokens  *history           // every RotationToken issued
	values  *history           // every secret value that was put
}

var _ wire.Handler = (*Service)(nil)

// New returns a service without secrets. Close must be called to end its rotations.
func New(d Deps) *Service {
	ctx, stop := context.WithCancel(context.Background())
	return &Service{deps: d, ctx: ctx, stop: stop, secrets: map[string]*secret{},
		tokens: newHistory(), values: newHistory()}
}

// Close ends every rotation, after the step in hand, and waits for that.
func (s *Service) Close() {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.wg.Wait()
}

// Handle serves one call.
func (s *Service) Handle(_ context.Context, r *wire.Request) (any, error) {
	switch r.Action {
	case "CreateSecret":
		return handle(s, r, s.createSecret)
	case "UpdateSecret":
		return handle(s, r, s.updateSecret)
	case "DescribeSecret":
		return handle(s, r, s.describeSecret)
	case "ListSecrets":
		return handle(s, r, s.listSecrets)
	case "ListSecretVersionIds":
		return handle(s, r, s.listSecretVersionIDs)
	case "GetSecretValue":
		return handle(s, r, s.getSecretValue)
	case "BatchGetSecretValue":
		return handle(s, r, s.batchGetSecretValue)
	case "PutSecretValue":
		return handle(s, r, s.putSecretValue)
	case "UpdateSecretVersionStage":
		return handle(s, r, s.updateSecretVersionStage)
	case "RotateSecret":
		return handle(s, r, s.rotateSecret)
	case "CancelRotateSecret":
		return handle(s, r, s.cancelRotateSecret)
	case "DeleteSecret":
		return handle(s, r, s.deleteSecret)
	case "RestoreSecret":
		return handle(s, r, s.restoreSecret)
	case "TagResource":
		return handle(s, r, s.tagResource)
	case "UntagResource":
		return handle(s, r, s.untagResource)
	case "ReplicateSecretToRegions":
		return handle(s, r, s.replicateSecretToRegions)
	}
	return nil, wire.Unknown(r)
}

// handle decodes the input, runs f with the lock held and sends the events that f left in the outbox.
func handle[In any](s *Service, r *wire.Request, f func(*In) (any, error)) (any, error) {
	in := new(In)
	if err := wire.DecodeStrict(r, in); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.unlock()
	return f(in)
}

// unlock releases s.mu and then sends the outbox: a receiver may call straight back.
func (s *Service) unlock() {
	events := s.outbox
	s.outbox = nil
	s.mu.Unlock()
	for _, e := range events {
		s.deps.Emit(e)
	}
}
