package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

const (
	labelCurrent  = "AWSCURRENT"
	labelPending  = "AWSPENDING"
	labelPrevious = "AWSPREVIOUS"
)

// secretInfo is what Secrets Manager says about the key-pair secret; values are not part of it.
type secretInfo struct {
	Name            string        `json:"name"`
	ARN             string        `json:"arn"`
	RotationEnabled bool          `json:"rotationEnabled"`
	LastRotated     time.Time     `json:"lastRotated,omitzero"`
	NextRotation    time.Time     `json:"nextRotation,omitzero"`
	Versions        []versionInfo `json:"versions"`
}

// versionInfo is one version of the secret that bears a label.
type versionInfo struct {
	ID      string    `json:"versionId"`
	Labels  []string  `json:"labels"`
	Created time.Time `json:"created,omitzero"`
	// Fingerprint and State are the keyset's, and empty for a key that it does not hold.
	Fingerprint string    `json:"fingerprint,omitempty"`
	State       string    `json:"state,omitempty"`
	NotAfter    time.Time `json:"notAfter,omitzero"`
}

// holder is the version that a label marks, or "".
func (s secretInfo) holder(label string) string {
	for _, v := range s.Versions {
		if slices.Contains(v.Labels, label) {
			return v.ID
		}
	}
	return ""
}

// pending is the version of a rotation that is not complete, or "".
func (s secretInfo) pending() string {
	if v := s.holder(labelPending); v != s.holder(labelCurrent) {
		return v
	}
	return ""
}

// describe reads the labels of the key-pair secret.
func (b *backend) describe(ctx context.Context) (secretInfo, error) {
	out, err := b.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &b.secret})
	if err != nil {
		return secretInfo{}, fmt.Errorf("describing secret %q: %w", b.secret, err)
	}
	s := secretInfo{
		Name: aws.ToString(out.Name), ARN: aws.ToString(out.ARN), RotationEnabled: aws.ToBool(out.RotationEnabled),
		LastRotated: aws.ToTime(out.LastRotatedDate), NextRotation: aws.ToTime(out.NextRotationDate),
		Versions: []versionInfo{},
	}
	for id, labels := range out.VersionIdsToStages {
		s.Versions = append(s.Versions, versionInfo{ID: id, Labels: slices.Sorted(slices.Values(labels))})
	}
	slices.SortFunc(s.Versions, func(a, b versionInfo) int {
		return strings.Compare(strings.Join(a.Labels, " ")+a.ID, strings.Join(b.Labels, " ")+b.ID)
	})
	return s, nil
}

// addAges asks when the versions were made.
func (b *backend) addAges(ctx context.Context, s *secretInfo) error {
	created := make(map[string]time.Time)
	pages := secretsmanager.NewListSecretVersionIdsPaginator(b.secrets, &secretsmanager.ListSecretVersionIdsInput{SecretId: &s.ARN})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("listing versions of secret %q: %w", s.Name, err)
		}
		for _, v := range page.Versions {
			created[aws.ToString(v.VersionId)] = aws.ToTime(v.CreatedDate)
		}
	}
	for i := range s.Versions {
		s.Versions[i].Created = created[s.Versions[i].ID]
	}
	return nil
}
