package report

import (
	"slices"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
)

// The labels of Secrets Manager.
const (
	LabelCurrent  = "AWSCURRENT"
	LabelPending  = "AWSPENDING"
	LabelPrevious = "AWSPREVIOUS"
)

// Secret is what Secrets Manager says about the key-pair secret; values are not part of it.
type Secret struct {
	Name            string    `json:"name"`
	ARN             string    `json:"arn"`
	RotationEnabled bool      `json:"rotationEnabled"`
	LastRotated     time.Time `json:"lastRotated,omitzero"`
	NextRotation    time.Time `json:"nextRotation,omitzero"`
	Versions        []Version `json:"versions"`
}

// Version is one version of the secret that bears a label.
type Version struct {
	ID      string    `json:"versionId"`
	Labels  []string  `json:"labels"`
	Created time.Time `json:"created,omitzero"`
	// Fingerprint and State are the keyset's, and empty for a key that it does not hold.
	Fingerprint string    `json:"fingerprint,omitempty"`
	State       string    `json:"state,omitempty"`
	NotAfter    time.Time `json:"notAfter,omitzero"`
}

// Holder is the version that a label marks, or "".
func (s Secret) Holder(label string) string {
	for _, v := range s.Versions {
		if slices.Contains(v.Labels, label) {
			return v.ID
		}
	}
	return ""
}

// Pending is the version of a rotation that is not complete, or "".
func (s Secret) Pending() string {
	if v := s.Holder(LabelPending); v != s.Holder(LabelCurrent) {
		return v
	}
	return ""
}

// describe fills in what a keyset that has been made effective says about the version.
func (v *Version) describe(k keyset.Keyset) {
	for _, key := range k.Keys {
		if key.VersionID == v.ID {
			v.Fingerprint, v.State, v.NotAfter = key.PublicKey.Fingerprint(), string(key.State), key.NotAfter
		}
	}
	for _, r := range k.Retired {
		if r.VersionID == v.ID {
			v.Fingerprint, v.State = r.Fingerprint, stateRetired
		}
	}
}
