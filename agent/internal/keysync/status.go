package keysync

import (
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// Status is how the Syncer is doing, for operators. Times are the machine's own, except within Users.
type Status struct {
	Worker       string         `json:"worker"`
	AgentVersion string         `json:"agentVersion"`
	StartedAt    time.Time      `json:"startedAt"`
	UpdatedAt    time.Time      `json:"updatedAt"`
	SecretARN    string         `json:"secretArn,omitempty"`
	KeysetARN    string         `json:"keysetArn,omitempty"`
	VersionID    string         `json:"keysetVersionId,omitempty"`
	Generation   int64          `json:"generation"`
	Phase        keyset.Phase   `json:"phase,omitempty"`
	Outcome      ledger.Outcome `json:"outcome,omitempty"` // empty while nothing has been published
	Code         string         `json:"code,omitempty"`
	Message      string         `json:"message,omitempty"`
	Users        []ledger.User  `json:"users"`
	Banner       string         `json:"banner,omitempty"`
	LastSuccess  time.Time      `json:"lastSuccess,omitzero"` // end of the last pass without any fault
	LastError    string         `json:"lastError,omitempty"`
	LastErrorAt  time.Time      `json:"lastErrorAt,omitzero"`
	LastAck      time.Time      `json:"lastAck,omitzero"`
	Failures     int            `json:"failures"` // passes failed in a row
}

// Healthy reports whether the last pass succeeded, and at most maxAge ago.
func (s Status) Healthy(now time.Time, maxAge time.Duration) bool {
	return s.Failures == 0 && !s.LastSuccess.IsZero() && now.Sub(s.LastSuccess) <= maxAge
}
