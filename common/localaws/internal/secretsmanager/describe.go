package secretsmanager

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

type secretIDInput struct {
	SecretId string
}

// description is the answer of DescribeSecret and, without VersionIdsToStages, an entry of ListSecrets.
type description struct {
	ARN                    string
	Name                   string
	Description            string              `json:",omitempty"`
	KmsKeyId               string              `json:",omitempty"`
	RotationEnabled        *bool               `json:",omitempty"`
	RotationLambdaARN      string              `json:",omitempty"`
	RotationRules          *rotationRules      `json:",omitempty"`
	LastRotatedDate        float64             `json:",omitempty"`
	LastChangedDate        float64             `json:",omitempty"`
	LastAccessedDate       float64             `json:",omitempty"`
	DeletedDate            float64             `json:",omitempty"`
	NextRotationDate       float64             `json:",omitempty"`
	CreatedDate            float64             `json:",omitempty"`
	Tags                   []tag               `json:",omitempty"`
	VersionIdsToStages     map[string][]string `json:",omitempty"`
	SecretVersionsToStages map[string][]string `json:",omitempty"`
	PrimaryRegion          string              `json:",omitempty"`
	ReplicationStatus      []replicaStatus     `json:",omitempty"`
}

func (s *Service) describeSecret(in *secretIDInput) (any, error) {
	sec, err := s.lookupAny(in.SecretId)
	if err != nil {
		return nil, err
	}
	d := s.describe(sec)
	d.VersionIdsToStages = sec.labels()
	return d, nil
}

func (s *Service) describe(sec *secret) description {
	d := description{ARN: sec.arn, Name: sec.name, Description: sec.description, KmsKeyId: sec.kmsKey,
		RotationEnabled: sec.rotationEnabled, RotationLambdaARN: sec.rotationLambda, RotationRules: sec.rules,
		LastRotatedDate: date(sec.rotated), LastChangedDate: date(sec.changed), CreatedDate: date(sec.created),
		// AWS tells the day of the last access, not the time.
		LastAccessedDate: date(sec.accessed.Truncate(24 * time.Hour)),
		NextRotationDate: date(sec.nextRotation()), DeletedDate: date(sec.deleteAt), Tags: slices.Clone(sec.tags)}
	if len(sec.replicas) > 0 {
		d.PrimaryRegion = s.deps.Region
	}
	for _, r := range sec.replicas {
		d.ReplicationStatus = append(d.ReplicationStatus, newReplicaStatus(r))
	}
	return d
}

func date(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return wire.Epoch(t)
}

// labels lists the versions that hold labels; AWS shows no others.
func (sec *secret) labels() map[string][]string {
	m := map[string][]string{}
	for _, v := range sec.versions {
		if len(v.labels) > 0 {
			m[v.id] = slices.Clone(v.labels)
		}
	}
	return m
}

type versionEntry struct {
	VersionId        string
	VersionStages    []string
	CreatedDate      float64
	LastAccessedDate float64 `json:",omitempty"`
}

type listVersionsInput struct {
	SecretId          string
	IncludeDeprecated bool
	MaxResults        int
	NextToken         string
}

func (s *Service) listSecretVersionIDs(in *listVersionsInput) (any, error) {
	sec, err := s.lookupAny(in.SecretId)
	if err != nil {
		return nil, err
	}
	var entries []versionEntry
	for _, v := range sec.versions {
		if len(v.labels) > 0 || in.IncludeDeprecated {
			entries = append(entries, versionEntry{VersionId: v.id, VersionStages: slices.Clone(v.labels),
				CreatedDate: date(v.created), LastAccessedDate: date(v.accessed.Truncate(24 * time.Hour))})
		}
	}
	slices.SortFunc(entries, func(a, b versionEntry) int { return cmp.Compare(a.VersionId, b.VersionId) })
	page, next := paginate(entries, func(e versionEntry) string { return e.VersionId }, in.NextToken, in.MaxResults)
	out := map[string]any{"ARN": sec.arn, "Name": sec.name, "Versions": page}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

type filter struct {
	Key    string
	Values []string
}

type listSecretsInput struct {
	Filters                []filter
	IncludePlannedDeletion bool
	MaxResults             int
	NextToken              string
	SortOrder              string
}

func (s *Service) listSecrets(in *listSecretsInput) (any, error) {
	var list []description
	for _, sec := range s.secrets {
		if (sec.deleteAt.IsZero() || in.IncludePlannedDeletion) && sec.matches(in.Filters) {
			d := s.describe(sec)
			d.SecretVersionsToStages = sec.labels()
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b description) int { return cmp.Compare(a.Name, b.Name) })
	page, next := paginate(list, func(d description) string { return d.Name }, in.NextToken, in.MaxResults)
	if in.SortOrder == "desc" {
		slices.Reverse(page)
	}
	out := map[string]any{"SecretList": page}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

// paginate returns the entries after the one that token names; entries are sorted by key.
func paginate[E any](all []E, key func(E) string, token string, limit int) ([]E, string) {
	if limit <= 0 || limit > 100 {
		limit = 100
	}
	start := 0
	for token != "" && start < len(all) && key(all[start]) <= token {
		start++
	}
	page := all[start:]
	if len(page) <= limit {
		return append([]E{}, page...), ""
	}
	return slices.Clone(page[:limit]), key(page[limit-1])
}

func (sec *secret) matches(filters []filter) bool {
	for _, f := range filters {
		if !slices.ContainsFunc(f.Values, func(v string) bool { return sec.matchesOne(f.Key, v) }) {
			return false
		}
	}
	return true
}

func (sec *secret) matchesOne(key, val string) bool {
	val, negated := strings.CutPrefix(val, "!")
	found := slices.ContainsFunc(sec.filterable(key), func(have string) bool { return strings.HasPrefix(have, val) })
	return found != negated
}

func (sec *secret) filterable(key string) []string {
	var fields []string
	if key == "name" || key == "all" {
		fields = append(fields, sec.name)
	}
	if key == "description" || key == "all" {
		fields = append(fields, sec.description)
	}
	for _, t := range sec.tags {
		if key == "tag-key" || key == "all" {
			fields = append(fields, t.Key)
		}
		if key == "tag-value" || key == "all" {
			fields = append(fields, t.Value)
		}
	}
	return fields
}
