package secretsmanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// rotation is one rotation in progress. It is over when its secret no longer points to it.
type rotation struct {
	token  string
	cancel context.CancelFunc // wakes it from waiting for its next attempt; a step in hand goes on
}

var errOver = errors.New("rotation is over")

// steps are what AWS asks of a rotation function, in this order.
func steps() []string { return []string{"createSecret", "setSecret", "testSecret", "finishSecret"} }

// runRotation attempts the four steps until an attempt succeeds or the rotation is over.
func (s *Service) runRotation(ctx context.Context, sec *secret, rot *rotation) {
	for {
		err := s.attempt(sec, rot)
		if s.settle(sec, rot, err) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.deps.RetryAfter):
		}
	}
}

func (s *Service) attempt(sec *secret, rot *rotation) error {
	for _, step := range steps() {
		if err := s.runStep(sec, rot, step); err != nil {
			return err
		}
	}
	return nil
}

// runStep invokes the function for one step, with a RotationToken of its own. Whatever becomes of the
// rotation meanwhile, the invocation runs to its end, as it would in AWS.
func (s *Service) runStep(sec *secret, rot *rotation, step string) error {
	s.mu.Lock()
	if sec.rotation != rot {
		s.mu.Unlock()
		return errOver
	}
	lambda, arn, rotationToken := sec.rotationLambda, sec.arn, wire.NewUUID()
	s.tokens.add(rotationToken)
	s.mu.Unlock()
	payload, err := json.Marshal(stepEvent{Step: step, SecretID: arn, ClientRequestToken: rot.token, RotationToken: rotationToken})
	if err != nil {
		return fmt.Errorf("encoding the event of %s: %w", step, err)
	}
	if err := s.deps.Invoke(s.ctx, lambda, payload); err != nil {
		return fmt.Errorf("running %s: %w", step, err)
	}
	return nil
}

type stepEvent struct {
	Step               string
	SecretID           string `json:"SecretId"`
	ClientRequestToken string
	RotationToken      string
}

// settle records how an attempt ended and tells whether the rotation is over.
func (s *Service) settle(sec *secret, rot *rotation, err error) bool {
	s.mu.Lock()
	defer s.unlock()
	if sec.rotation != rot || s.ctx.Err() != nil {
		return true
	}
	if err == nil && sec.stillPending(rot.token) {
		err = errors.New("finishSecret succeeded but left AWSPENDING on a version that is not AWSCURRENT")
	}
	log := s.deps.Log.With(zap.String("secret_id", sec.arn), zap.String("version_id", rot.token))
	if err == nil {
		sec.rotated = time.Now()
		s.endRotation(sec)
		s.serviceEvent(sec, "RotationSucceeded")
		log.Info("rotation succeeded")
		return true
	}
	s.serviceEvent(sec, "RotationFailed")
	log.Info("rotation failed", zap.Error(err))
	if !sec.progressed(rot.token) {
		s.endRotation(sec) // somebody took AWSPENDING away: there is nothing left to retry
		return true
	}
	return false
}

func (sec *secret) stillPending(token string) bool {
	v := sec.version(token)
	return v != nil && v.has(pending) && !v.has(current)
}

func (s *Service) runTest(sec *secret, rot *rotation) {
	err := s.runStep(sec, rot, "testSecret")
	s.mu.Lock()
	defer s.unlock()
	if sec.rotation == rot {
		sec.rotation = nil
	}
	if v := sec.version(rot.token); v != nil && !v.has(current) {
		sec.removeVersion(rot.token)
	}
	name := "TestRotationSucceeded"
	if err != nil {
		name = "TestRotationFailed"
		s.deps.Log.Info("rotation test failed", zap.String("secret_id", sec.arn), zap.Error(err))
	}
	s.serviceEvent(sec, name)
}
