package ledger

import (
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
)

// Beacon is the small item that workers poll to learn that there is a newer keyset.
type Beacon struct {
	SecretARN       string       `json:"secretArn"`
	Generation      int64        `json:"generation"`
	KeysetVersionID string       `json:"keysetVersionId"`
	Phase           keyset.Phase `json:"phase"`
	FleetSize       int          `json:"fleetSize"` // for the window over which workers spread their reads
	PublishedAt     time.Time    `json:"publishedAt"`
}

// Laggard is a worker that is not ready, and why.
type Laggard struct {
	Worker  string `json:"worker"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Report is the rotator's own record of how a phase of a rotation ended.
type Report struct {
	SecretARN  string         `json:"secretArn"`
	Generation int64          `json:"generation"`
	Phase      string         `json:"phase"` // the rotation step, "steady", "requested", "request-refused", or an operator's request
	VersionID  string         `json:"versionId"`
	Passed     bool           `json:"passed"`
	Message    string         `json:"message"`
	Pending    string         `json:"pending,omitempty"` // fingerprint of the key that was gated
	Expected   int            `json:"expected"`
	Ready      int            `json:"ready"`
	Probed     int            `json:"probed"`
	Reasons    map[string]int `json:"reasons"`          // how many workers are not ready for each code
	Laggards   []Laggard      `json:"laggards"`         // the first few of them
	Waived     []Laggard      `json:"waived,omitempty"` // who does not count by an operator's waiver, and is not ready
	Asked      string         `json:"asked,omitempty"`  // who asked for this, and why, where somebody did
	// Booting are the first few of those that do not count yet, having been launched lately.
	Booting []string `json:"booting,omitempty"`
	// Unlisted counts, by code, the workers for which Laggards, Waived and Booting have no room.
	Unlisted map[string]int `json:"unlisted,omitempty"`
	// Failures is how often the phase has failed in this generation, this time included, and Since when it was first
	// recorded: a report replaces the one of the try before it.
	Failures int       `json:"failures,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	// Pushed are the first few of those that are ready because Systems Manager was used on them, and how.
	Pushed []Laggard `json:"pushed,omitempty"`
	// Unverified are the first few of those that count as ready although their sshd did not tell.
	Unverified []string `json:"unverified,omitempty"`
	// Untagged are workers that run and acknowledge although no source lists them; finishSecret counts those that
	// testSecret has found.
	Untagged []string `json:"untagged,omitempty"`
	// Spread tells how long the workers took: of testSecret, to be ready after the publication; of steady, to
	// refuse the old key after its end. Other phases have none.
	Spread *Spread   `json:"spread,omitempty"`
	At     time.Time `json:"at"` // AWS time
}
