package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/rotator/internal/report"
)

const (
	labelCurrent  = report.LabelCurrent
	labelPending  = report.LabelPending
	labelPrevious = report.LabelPrevious
)

// secretInfo is what Secrets Manager says about the key-pair secret.
type secretInfo struct{ report.Secret }

// holder is the version that a label marks, or "".
func (s secretInfo) holder(label string) string { return s.Holder(label) }

// pending is the version of a rotation that is not complete, or "".
func (s secretInfo) pending() string { return s.Pending() }

// describe reads the labels of the key-pair secret.
func (b *backend) describe(ctx context.Context) (secretInfo, error) {
	out, err := b.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &b.secret})
	if err != nil {
		return secretInfo{}, fmt.Errorf("describing secret %q: %w", b.secret, err)
	}
	s := secretInfo{report.Secret{
		Name: aws.ToString(out.Name), ARN: aws.ToString(out.ARN), RotationEnabled: aws.ToBool(out.RotationEnabled),
		LastRotated: aws.ToTime(out.LastRotatedDate), NextRotation: aws.ToTime(out.NextRotationDate),
		Versions: []report.Version{},
	}}
	for id, labels := range out.VersionIdsToStages {
		s.Versions = append(s.Versions, report.Version{ID: id, Labels: slices.Sorted(slices.Values(labels))})
	}
	slices.SortFunc(s.Versions, func(a, b report.Version) int {
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
