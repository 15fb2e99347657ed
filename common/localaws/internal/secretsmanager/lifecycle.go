package secretsmanager

import (
	"slices"
	"time"
)

type deleteSecretInput struct {
	SecretId                   string
	RecoveryWindowInDays       *int
	ForceDeleteWithoutRecovery bool
}

func (s *Service) deleteSecret(in *deleteSecretInput) (any, error) {
	days := 30
	if in.RecoveryWindowInDays != nil {
		days = *in.RecoveryWindowInDays
	}
	switch {
	case in.ForceDeleteWithoutRecovery && in.RecoveryWindowInDays != nil:
		return nil, invalidParameter("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
	case days < 7 || days > 30:
		return nil, invalidParameter("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
	}
	sec, err := s.lookup(in.SecretId)
	if err != nil {
		return nil, err
	}
	at := time.Now()
	if in.ForceDeleteWithoutRecovery {
		s.remove(sec)
	} else {
		at = at.Add(time.Duration(days) * 24 * time.Hour)
		sec.deleteAt = at
		s.endRotation(sec)
	}
	return map[string]any{"ARN": sec.arn, "Name": sec.name, "DeletionDate": date(at)}, nil
}

func (s *Service) restoreSecret(in *secretIDInput) (any, error) {
	sec, err := s.lookupAny(in.SecretId)
	if err != nil {
		return nil, err
	}
	sec.deleteAt = time.Time{}
	return versionOutput{ARN: sec.arn, Name: sec.name}, nil
}

type tagResourceInput struct {
	SecretId string
	Tags     []tag
}

func (s *Service) tagResource(in *tagResourceInput) (any, error) {
	sec, err := s.lookup(in.SecretId)
	if err != nil {
		return nil, err
	}
	for _, t := range in.Tags {
		sec.tags = slices.DeleteFunc(sec.tags, func(have tag) bool { return have.Key == t.Key })
		sec.tags = append(sec.tags, t)
	}
	return nil, nil
}

type untagResourceInput struct {
	SecretId string
	TagKeys  []string
}

func (s *Service) untagResource(in *untagResourceInput) (any, error) {
	sec, err := s.lookup(in.SecretId)
	if err != nil {
		return nil, err
	}
	sec.tags = slices.DeleteFunc(sec.tags, func(have tag) bool { return slices.Contains(in.TagKeys, have.Key) })
	return nil, nil
}

type replicaRegion struct {
	Region string
}

type replicaStatus struct {
	Region        string
	Status        string
	StatusMessage string
}

// newReplicaStatus never says InSync: localaws is one region, so there is no replica to be in sync.
func newReplicaStatus(region string) replicaStatus {
	return replicaStatus{Region: region, Status: "InProgress", StatusMessage: "localaws serves one region only"}
}

type replicateInput struct {
	SecretId          string
	AddReplicaRegions []replicaRegion
}

// replicateSecretToRegions notes the regions, so that a rotator can be seen to refuse a replicated secret.
func (s *Service) replicateSecretToRegions(in *replicateInput) (any, error) {
	sec, err := s.lookup(in.SecretId)
	if err != nil {
		return nil, err
	}
	var status []replicaStatus
	for _, r := range in.AddReplicaRegions {
		if !slices.Contains(sec.replicas, r.Region) {
			sec.replicas = append(sec.replicas, r.Region)
		}
	}
	for _, r := range sec.replicas {
		status = append(status, newReplicaStatus(r))
	}
	return map[string]any{"ARN": sec.arn, "ReplicationStatus": status}, nil
}
