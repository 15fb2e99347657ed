package secretsmanager

import "time"

type updateSecretVersionStageInput struct {
	SecretId            string
	VersionStage        string
	RemoveFromVersionId string
	MoveToVersionId     string
}

// updateSecretVersionStage moves, attaches or removes one label. RemoveFromVersionId must name the version
// that holds the label now: that makes the call a compare-and-swap.
func (s *Service) updateSecretVersionStage(in *updateSecretVersionStageInput) (any, error) {
	sec, err := s.lookup(in.SecretId)
	if err != nil {
		return nil, err
	}
	if err := sec.checkMove(in); err != nil {
		return nil, err
	}
	if in.MoveToVersionId != "" {
		s.attach(sec, sec.version(in.MoveToVersionId), in.VersionStage)
	} else {
		sec.version(in.RemoveFromVersionId).drop(in.VersionStage)
	}
	sec.changed = time.Now()
	return versionOutput{ARN: sec.arn, Name: sec.name}, nil
}

func (sec *secret) checkMove(in *updateSecretVersionStageInput) error {
	if in.VersionStage == "" || len(in.VersionStage) > 256 {
		return invalidMember("versionStage", "Member must have length between 1 and 256")
	}
	if in.RemoveFromVersionId == "" && in.MoveToVersionId == "" {
		return invalidParameter("You must provide RemoveFromVersionId, MoveToVersionId or both.")
	}
	if err := sec.checkRemoveFrom(in); err != nil {
		return err
	}
	if in.MoveToVersionId == "" {
		if in.VersionStage == current {
			return invalidParameter("You can only move staging label AWSCURRENT to a different secret version. It can't be completely removed.")
		}
		return nil
	}
	return sec.checkMoveTo(in)
}

func (sec *secret) checkRemoveFrom(in *updateSecretVersionStageInput) error {
	holder := sec.labelled(in.VersionStage)
	switch {
	case in.RemoveFromVersionId == "" && holder != nil && holder.id != in.MoveToVersionId:
		return invalidParameter("The parameter RemoveFromVersionId can't be empty. Staging label " + in.VersionStage +
			" is currently attached to version " + holder.id + ", so you must explicitly reference that version in RemoveFromVersionId.")
	case in.RemoveFromVersionId != "" && sec.version(in.RemoveFromVersionId) == nil:
		return notFound("Secrets Manager can't find the specified secret version: " + in.RemoveFromVersionId)
	case in.RemoveFromVersionId != "" && (holder == nil || holder.id != in.RemoveFromVersionId):
		return invalidParameter("Staging label " + in.VersionStage + " isn't attached to version " + in.RemoveFromVersionId + ".")
	}
	return nil
}

func (sec *secret) checkMoveTo(in *updateSecretVersionStageInput) error {
	to := sec.version(in.MoveToVersionId)
	switch {
	case to == nil:
		return notFound("Secrets Manager can't find the specified secret version: " + in.MoveToVersionId)
	case to.empty() && in.VersionStage == current:
		return invalidRequest("You can't move AWSCURRENT to a version that has no secret value.")
	case !to.has(in.VersionStage) && len(to.labels) >= maxLabelsPerEntry:
		return limitExceeded("You can't attach more than 20 staging labels to a version.")
	}
	return nil
}
