package secretsmanager

import (
	"errors"
	"slices"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

type putSecretValueInput struct {
	SecretId           string
	ClientRequestToken string
	SecretString       *string
	SecretBinary       []byte
	VersionStages      []string
	RotationToken      string
}

func (s *Service) putSecretValue(in *putSecretValueInput) (any, error) {
	sec, err := s.lookup(in.SecretId)
	if err != nil {
		return nil, err
	}
	val, err := checkValue(in.SecretString, in.SecretBinary)
	if err != nil {
		return nil, err
	}
	if val == nil {
		return nil, invalidRequest("You must provide either SecretString or SecretBinary.")
	}
	token, err := checkToken(in.ClientRequestToken)
	if err != nil {
		return nil, err
	}
	if in.RotationToken != "" && !s.tokens.has(in.RotationToken) {
		return nil, invalidRequest("The RotationToken is not valid.")
	}
	v, err := s.put(sec, token, *val, in.VersionStages)
	if err != nil {
		return nil, err
	}
	return versionOutput{ARN: sec.arn, Name: sec.name, VersionId: v.id, VersionStages: slices.Clone(v.labels)}, nil
}

// put stores val under token. A version that exists with the same value is left exactly as it is, labels
// included; the empty version of a rotation is filled; no version ever changes its value.
func (s *Service) put(sec *secret, token string, val value, labels []string) (*version, error) {
	if len(labels) > maxLabelsPerEntry {
		return nil, limitExceeded("You can't attach more than 20 staging labels to a version.")
	}
	if len(labels) == 0 {
		labels = []string{current}
	}
	v := sec.version(token)
	switch {
	case v != nil && v.holds(val):
		return v, nil
	case v != nil && !v.empty():
		return nil, errTokenInUse(token, sec.arn)
	case v == nil:
		var err error
		if v, err = s.newVersion(sec, token); err != nil {
			return nil, err
		}
	}
	v.set(val)
	s.remember(val)
	if sec.labelled(current) == nil && !slices.Contains(labels, current) {
		labels = append(slices.Clone(labels), current) // a secret's first version always becomes current
	}
	if slices.Contains(labels, current) {
		s.abandonFor(sec, v)
	}
	for _, l := range labels {
		s.attach(sec, v, l)
	}
	sec.changed = time.Now()
	return v, nil
}

func (s *Service) remember(val value) {
	if val.str != nil {
		s.values.add(*val.str)
		return
	}
	s.values.add(string(val.binary))
}

type getSecretValueInput struct {
	SecretId     string
	VersionId    string
	VersionStage string
}

type secretValue struct {
	ARN           string
	Name          string
	VersionId     string
	SecretString  *string `json:",omitempty"`
	SecretBinary  []byte  `json:",omitempty"`
	VersionStages []string
	CreatedDate   float64
}

func (s *Service) getSecretValue(in *getSecretValueInput) (any, error) {
	sec, err := s.lookup(in.SecretId)
	if err != nil {
		return nil, err
	}
	v, err := sec.pick(in.VersionId, in.VersionStage)
	if err != nil {
		return nil, err
	}
	v.accessed = time.Now()
	sec.accessed = v.accessed
	return sec.value(v), nil
}

func (sec *secret) value(v *version) secretValue {
	return secretValue{ARN: sec.arn, Name: sec.name, VersionId: v.id, SecretString: v.str,
		SecretBinary: v.binary, VersionStages: slices.Clone(v.labels), CreatedDate: wire.Epoch(v.created)}
}

// pick finds the version that a reader asked for, by id, by label, by both, or AWSCURRENT by default.
func (sec *secret) pick(id, stage string) (*version, error) {
	if id == "" {
		if stage == "" {
			stage = current
		}
		v := sec.labelled(stage)
		if v == nil || v.empty() {
			return nil, errNoValueForStage(stage)
		}
		return v, nil
	}
	v := sec.version(id)
	switch {
	case v == nil:
		return nil, errNoValueForVersion(id)
	case stage != "" && !v.has(stage):
		return nil, invalidRequest("You provided a VersionStage that is not associated to the provided VersionId.")
	case v.empty() && stage != "":
		return nil, errNoValueForStage(stage)
	case v.empty():
		return nil, errNoValueForVersion(id)
	}
	return v, nil
}

type batchGetSecretValueInput struct {
	SecretIdList []string
}

type batchError struct {
	SecretId  string
	ErrorCode string
	Message   string
}

func (s *Service) batchGetSecretValue(in *batchGetSecretValueInput) (any, error) {
	if n := len(in.SecretIdList); n == 0 || n > 20 {
		return nil, invalidParameter("SecretIdList must hold between 1 and 20 secrets; localaws does not support Filters here.")
	}
	values, failures := []any{}, []batchError{}
	for _, id := range in.SecretIdList {
		v, err := s.getSecretValue(&getSecretValueInput{SecretId: id})
		var awsErr *wire.Error
		switch {
		case errors.As(err, &awsErr):
			failures = append(failures, batchError{SecretId: id, ErrorCode: awsErr.Code, Message: awsErr.Message})
		case err == nil:
			values = append(values, v)
		}
	}
	return map[string]any{"SecretValues": values, "Errors": failures}, nil
}
