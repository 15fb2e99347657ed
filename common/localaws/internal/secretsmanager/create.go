package secretsmanager

import (
	"regexp"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

const maxValue = 65536

var secretName = regexp.MustCompile(`^[A-Za-z0-9/_+=.@!-]{1,512}$`)

type createSecretInput struct {
	Name               string
	ClientRequestToken string
	Description        string
	KmsKeyId           string
	SecretString       *string
	SecretBinary       []byte
	Tags               []tag
	AddReplicaRegions  []replicaRegion
}

type versionOutput struct {
	ARN           string
	Name          string
	VersionId     string   `json:",omitempty"`
	VersionStages []string `json:",omitempty"`
}

func (s *Service) createSecret(in *createSecretInput) (any, error) {
	if !secretName.MatchString(in.Name) {
		return nil, &wire.Error{Code: "ValidationException", Message: "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"}
	}
	val, err := checkValue(in.SecretString, in.SecretBinary)
	if err != nil {
		return nil, err
	}
	token, err := checkToken(in.ClientRequestToken)
	if err != nil {
		return nil, err
	}
	if old := s.secrets[in.Name]; old != nil {
		return createAgain(old, token, val)
	}
	sec := s.newSecret(in)
	out := versionOutput{ARN: sec.arn, Name: sec.name}
	if val != nil {
		if _, err := s.put(sec, token, *val, []string{current}); err != nil {
			return nil, err
		}
		out.VersionId = token
	}
	s.secrets[in.Name] = sec
	return out, nil
}

func (s *Service) newSecret(in *createSecretInput) *secret {
	now := time.Now()
	sec := &secret{
		arn:  "arn:aws:secretsmanager:" + s.deps.Region + ":" + s.deps.Account + ":secret:" + in.Name + "-" + wire.NewLetters(6),
		name: in.Name, description: in.Description, kmsKey: in.KmsKeyId, tags: in.Tags,
		created: now, changed: now,
	}
	for _, r := range in.AddReplicaRegions {
		sec.replicas = append(sec.replicas, r.Region)
	}
	return sec
}

// createAgain answers a CreateSecret for a name that exists: the repetition of a call whose answer was
// lost succeeds, everything else fails.
func createAgain(old *secret, token string, val *value) (any, error) {
	if !old.deleteAt.IsZero() {
		return nil, invalidRequest("You can't create this secret because a secret with this name is already scheduled for deletion.")
	}
	if v := old.version(token); v != nil && val != nil && v.holds(*val) {
		return versionOutput{ARN: old.arn, Name: old.name, VersionId: token}, nil
	}
	return nil, exists("The operation failed because the secret " + old.name + " already exists.")
}

type updateSecretInput struct {
	SecretId           string
	ClientRequestToken string
	Description        *string
	KmsKeyId           *string
	SecretString       *string
	SecretBinary       []byte
}

func (s *Service) updateSecret(in *updateSecretInput) (any, error) {
	sec, err := s.lookup(in.SecretId)
	if err != nil {
		return nil, err
	}
	val, err := checkValue(in.SecretString, in.SecretBinary)
	if err != nil {
		return nil, err
	}
	token, err := checkToken(in.ClientRequestToken)
	if err != nil {
		return nil, err
	}
	out := versionOutput{ARN: sec.arn, Name: sec.name}
	if val != nil {
		if _, err := s.put(sec, token, *val, []string{current}); err != nil {
			return nil, err
		}
		out.VersionId = token
	}
	if in.Description != nil {
		sec.description = *in.Description
	}
	if in.KmsKeyId != nil {
		sec.kmsKey = *in.KmsKeyId
	}
	sec.changed = time.Now()
	return out, nil
}

// checkValue returns nil when the caller gave no value.
func checkValue(str *string, binary []byte) (*value, error) {
	switch {
	case str != nil && binary != nil:
		return nil, invalidRequest("You can't specify both a binary secret value and a string secret value in the same secret.")
	case str != nil:
		return &value{str: str}, checkLength("secretString", len(*str))
	case binary != nil:
		return &value{binary: binary}, checkLength("secretBinary", len(binary))
	}
	return nil, nil
}

func checkLength(member string, n int) error {
	switch {
	case n == 0:
		return invalidMember(member, "Member must have length greater than or equal to 1")
	case n > maxValue:
		return invalidMember(member, "Member must have length less than or equal to 65536")
	}
	return nil
}

func checkToken(token string) (string, error) {
	if token == "" {
		return wire.NewUUID(), nil
	}
	if len(token) < 32 || len(token) > 64 {
		return "", invalidParameter("ClientRequestToken must be 32-64 characters long.")
	}
	return token, nil
}
