package secretsmanager

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

type rotationRules struct {
	AutomaticallyAfterDays int    `json:",omitempty"`
	Duration               string `json:",omitempty"`
	ScheduleExpression     string `json:",omitempty"`
}

type rotateSecretInput struct {
	SecretId           string
	ClientRequestToken string
	RotationLambdaARN  string
	RotationRules      *rotationRules
	RotateImmediately  *bool
}

// rotateSecret switches rotation on and starts one, or only a test of the function when
// RotateImmediately is false. It returns before the first step runs.
func (s *Service) rotateSecret(in *rotateSecretInput) (any, error) {
	sec, err := s.lookup(in.SecretId)
	if err != nil {
		return nil, err
	}
	token, err := checkToken(in.ClientRequestToken)
	if err != nil {
		return nil, err
	}
	out := versionOutput{ARN: sec.arn, Name: sec.name, VersionId: token}
	if sec.rotationToken == token {
		return out, nil // a repetition of the call that started this rotation, which may have ended by now
	}
	if err := s.checkRotate(sec, in, token); err != nil {
		return nil, err
	}
	sec.configure(in)
	if in.RotateImmediately != nil && !*in.RotateImmediately {
		return out, s.startTest(sec, token)
	}
	return out, s.startRotation(sec, token)
}

func (s *Service) checkRotate(sec *secret, in *rotateSecretInput, token string) error {
	lambda := in.RotationLambdaARN
	if lambda == "" {
		lambda = sec.rotationLambda
	}
	p := sec.labelled(pending)
	switch {
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	case lambda == "":
		return invalidRequest("No Lambda rotation function ARN is associated with this secret.")
	case !s.deps.FunctionExists(lambda):
		return errCannotInvoke()
	case p != nil && !p.has(current):
		return invalidRequest("A previous rotation isn't complete. That rotation will be reattempted.")
	case sec.version(token) != nil:
		return errTokenInUse(token, sec.arn)
	}
	return checkRules(in.RotationRules)
}

func checkRules(r *rotationRules) error {
	switch {
	case r == nil:
		return nil
	case r.AutomaticallyAfterDays != 0 && r.ScheduleExpression != "":
		return invalidParameter("You can't specify both AutomaticallyAfterDays and ScheduleExpression in RotationRules.")
	case r.AutomaticallyAfterDays < 0 || r.AutomaticallyAfterDays > 1000:
		return invalidMember("rotationRules.automaticallyAfterDays", "Member must have value between 1 and 1000")
	}
	return nil
}

func (sec *secret) configure(in *rotateSecretInput) {
	on := true
	sec.rotationEnabled = &on
	if in.RotationLambdaARN != "" {
		sec.rotationLambda = in.RotationLambdaARN
	}
	if in.RotationRules != nil {
		sec.rules = in.RotationRules
	}
	sec.changed = time.Now()
}

// nextRotation is when AWS would rotate next, as far as the rules are simple enough to tell.
func (sec *secret) nextRotation() time.Time {
	if sec.rules == nil || sec.rotationEnabled == nil || !*sec.rotationEnabled {
		return time.Time{}
	}
	last := sec.rotated
	if last.IsZero() {
		last = sec.created
	}
	if d := sec.rules.AutomaticallyAfterDays; d > 0 {
		return last.AddDate(0, 0, d)
	}
	n, unit, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(sec.rules.ScheduleExpression, "rate("), ")"), " ")
	count, err := strconv.Atoi(n)
	if !ok || err != nil {
		return time.Time{}
	}
	if strings.HasPrefix(unit, "hour") {
		return last.Add(time.Duration(count) * time.Hour)
	}
	return last.AddDate(0, 0, count)
}

// startRotation puts AWSPENDING on an empty version, as AWS does before createSecret, and lets the
// rotation run.
func (s *Service) startRotation(sec *secret, token string) error {
	v, err := s.newVersion(sec, token)
	if err != nil {
		return err
	}
	s.endRotation(sec) // one that an operator aborted by taking AWSPENDING away may still be in a step
	s.attach(sec, v, pending)
	s.serviceEvent(sec, "RotationStarted")
	ctx, cancel := context.WithCancel(s.ctx)
	rot := &rotation{token: token, cancel: cancel}
	sec.rotation, sec.rotationToken = rot, token
	s.wg.Go(func() { s.runRotation(ctx, sec, rot) })
	return nil
}

// startTest runs testSecret alone, on a temporary version that is removed afterwards.
func (s *Service) startTest(sec *secret, token string) error {
	v, err := s.newVersion(sec, token)
	if err != nil {
		return err
	}
	if c := sec.labelled(current); c != nil && !s.deps.EmptyTestVersion {
		v.set(value{str: c.str, binary: c.binary})
	}
	s.endRotation(sec)
	s.attach(sec, v, pending)
	s.serviceEvent(sec, "TestRotationStarted")
	rot := &rotation{token: token, cancel: func() {}}
	sec.rotation, sec.rotationToken = rot, token
	s.wg.Go(func() { s.runTest(sec, rot) })
	return nil
}

// endRotation makes the rotation in progress, if any, stop before its next step.
func (s *Service) endRotation(sec *secret) {
	if sec.rotation != nil {
		sec.rotation.cancel()
		sec.rotation = nil
	}
}

// abandonFor ends the rotation in progress because v, which is not its version, becomes current.
func (s *Service) abandonFor(sec *secret, v *version) {
	rot := sec.rotation
	if rot == nil || rot.token == v.id {
		return
	}
	if p := sec.version(rot.token); p != nil {
		p.drop(pending)
	}
	s.endRotation(sec)
	s.serviceEvent(sec, "RotationAbandoned")
	s.deps.Log.Info("rotation abandoned", zap.String("secret_id", sec.arn), zap.String("version_id", rot.token))
}

// cancelRotateSecret switches rotation off. AWSPENDING stays where it is, as on AWS.
func (s *Service) cancelRotateSecret(in *secretIDInput) (any, error) {
	sec, err := s.lookup(in.SecretId)
	if err != nil {
		return nil, err
	}
	if sec.rotationEnabled == nil {
		return nil, invalidRequest("You can't cancel the rotation of a secret that doesn't have rotation configured.")
	}
	off := false
	sec.rotationEnabled = &off
	sec.changed = time.Now()
	out := versionOutput{ARN: sec.arn, Name: sec.name}
	if sec.rotation != nil {
		out.VersionId = sec.rotation.token
		s.endRotation(sec)
	}
	return out, nil
}

// progressed tells whether token still takes part in the rotation: it is pending, or already current.
func (sec *secret) progressed(token string) bool {
	v := sec.version(token)
	return v != nil && slices.ContainsFunc(v.labels, func(l string) bool { return l == pending || l == current })
}
