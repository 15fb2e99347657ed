package secretsmanager

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// The labels that Secrets Manager itself gives a meaning to.
const (
	current  = "AWSCURRENT"
	pending  = "AWSPENDING"
	previous = "AWSPREVIOUS"
)

const (
	maxVersions       = 100
	maxLabelsPerEntry = 20
)

type tag struct {
	Key   string
	Value string
}

// secret is one secret; everything in it is guarded by the service's lock.
type secret struct {
	arn, name, description, kmsKey string
	tags                           []tag
	replicas                       []string

	created, changed, accessed, rotated time.Time
	deleteAt                            time.Time // zero unless marked for deletion

	versions []*version // oldest first

	rotationEnabled *bool // nil until rotation was configured for the first time
	rotationLambda  string
	rules           *rotationRules
	rotation        *rotation // the rotation in progress, failed ones that will be retried included
	rotationToken   string    // of the latest rotation, also when it has ended
}

// version is one version. Between RotateSecret and createSecret's put it has no value.
type version struct {
	id       string
	str      *string
	binary   []byte
	labels   []string // sorted, as AWS shows them
	created  time.Time
	accessed time.Time
}

func (v *version) empty() bool { return v.str == nil && v.binary == nil }

func (v *version) has(label string) bool { return slices.Contains(v.labels, label) }

func (v *version) holds(val value) bool {
	if val.str != nil {
		return v.str != nil && *v.str == *val.str
	}
	return v.str == nil && v.binary != nil && bytes.Equal(v.binary, val.binary)
}

func (v *version) set(val value) { v.str, v.binary = val.str, val.binary }

// value is what a caller wants to store: exactly one of its fields is set.
type value struct {
	str    *string
	binary []byte
}

func (sec *secret) version(id string) *version {
	for _, v := range sec.versions {
		if v.id == id {
			return v
		}
	}
	return nil
}

func (sec *secret) labelled(label string) *version {
	for _, v := range sec.versions {
		if v.has(label) {
			return v
		}
	}
	return nil
}

func (sec *secret) removeVersion(id string) {
	sec.versions = slices.DeleteFunc(sec.versions, func(v *version) bool { return v.id == id })
}

func (v *version) add(label string) {
	v.labels = append(v.labels, label)
	slices.Sort(v.labels)
}

func (v *version) drop(label string) {
	v.labels = slices.DeleteFunc(v.labels, func(l string) bool { return l == label })
}

// attach moves label to v, taking AWSPREVIOUS along when label is AWSCURRENT, and leaves the event that
// AWS sends for it in the outbox.
func (s *Service) attach(sec *secret, v *version, label string) {
	old := sec.labelled(label)
	if old == v {
		return
	}
	if old != nil {
		old.drop(label)
	}
	v.add(label)
	if label == current && old != nil {
		if p := sec.labelled(previous); p != nil {
			p.drop(previous)
		}
		old.add(previous)
	}
	if label != pending && label != previous {
		s.labelEvent(sec, v, label)
	}
}

func (s *Service) labelEvent(sec *secret, v *version, label string) {
	s.outbox = append(s.outbox, Event{
		DetailType: "Secret Label Updated",
		Resources:  []string{sec.arn},
		Detail:     map[string]string{"name": sec.name, "labelUpdated": label, "versionId": v.id},
	})
}

// serviceEvent is an event that reaches EventBridge by way of CloudTrail.
func (s *Service) serviceEvent(sec *secret, name string) {
	s.outbox = append(s.outbox, Event{
		DetailType: "AWS Service Event via CloudTrail",
		Detail: map[string]any{
			"eventVersion":        "1.08",
			"eventSource":         "secretsmanager.amazonaws.com",
			"eventName":           name,
			"eventTime":           time.Now().UTC().Format(time.RFC3339),
			"eventType":           "AwsServiceEvent",
			"awsRegion":           s.deps.Region,
			"recipientAccountId":  s.deps.Account,
			"additionalEventData": map[string]string{"SecretId": sec.arn},
		},
	})
}

// makeRoom removes old versions without labels, and fails when the quota still leaves no room.
func (s *Service) makeRoom(sec *secret) error {
	for i := 0; len(sec.versions) >= maxVersions && i < len(sec.versions); {
		v := sec.versions[i]
		if len(v.labels) == 0 && time.Since(v.created) > s.deps.KeepVersions {
			sec.versions = slices.Delete(sec.versions, i, i+1)
			continue
		}
		i++
	}
	if len(sec.versions) >= maxVersions {
		return limitExceeded("You've exceeded the quota of 100 versions for a secret.")
	}
	return nil
}

// newVersion adds an empty version without labels.
func (s *Service) newVersion(sec *secret, id string) (*version, error) {
	if err := s.makeRoom(sec); err != nil {
		return nil, err
	}
	v := &version{id: id, created: time.Now()}
	sec.versions = append(sec.versions, v)
	return v, nil
}

// find looks a secret up by name, by ARN, or by an ARN that lacks the six random characters.
func (s *Service) find(id string) *secret {
	if sec := s.secrets[id]; sec != nil {
		return sec
	}
	name, ok := strings.CutPrefix(id, "arn:aws:secretsmanager:"+s.deps.Region+":"+s.deps.Account+":secret:")
	if !ok {
		return nil
	}
	if sec := s.secrets[name]; sec != nil {
		return sec
	}
	if i := len(name) - 7; i > 0 {
		if sec := s.secrets[name[:i]]; sec != nil && sec.arn == id {
			return sec
		}
	}
	return nil
}

// lookup is find with AWS's errors; a secret marked for deletion counts as unusable.
func (s *Service) lookup(id string) (*secret, error) {
	sec, err := s.lookupAny(id)
	if err == nil && !sec.deleteAt.IsZero() {
		return nil, errMarkedForDeletion()
	}
	return sec, err
}

func (s *Service) lookupAny(id string) (*secret, error) {
	if id == "" {
		return nil, invalidParameter("You must provide SecretId.")
	}
	sec := s.find(id)
	if sec != nil && !sec.deleteAt.IsZero() && time.Now().After(sec.deleteAt) {
		s.remove(sec)
		sec = nil
	}
	if sec == nil {
		return nil, errNoSecret()
	}
	return sec, nil
}

func (s *Service) remove(sec *secret) {
	s.endRotation(sec)
	delete(s.secrets, sec.name)
}

// ARN returns the ARN of the secret that id names, and whether there is one.
func (s *Service) ARN(id string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sec := s.find(id)
	if sec == nil {
		return "", false
	}
	return sec.arn, true
}
