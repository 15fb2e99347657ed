// Package ledger holds what workers and the rotator tell each other through one DynamoDB table:
// acknowledgements, the beacon, reports and leases.
//
// IAM, not this package, decides who may write what: a worker's role may write only items whose partition
// key is its own instance ARN, and may read only partition keys that begin with "keyset#".
package ledger

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// AckLifetime is how long an acknowledgement stays valid unless it is renewed.
const AckLifetime = 7 * 24 * time.Hour

// Outcome is the result of a worker's pass.
type Outcome string

// The outcomes.
const (
	Applied Outcome = "applied" // every user's file holds the keyset, read back
	Failed  Outcome = "failed"  // see Code and Message
)

// Accepted is sshd's answer about one key for one user.
type Accepted string

// The answers.
const (
	Yes        Accepted = "yes"        // sshd would accept the key
	No         Accepted = "no"         // sshd refuses the key
	Unverified Accepted = "unverified" // sshd was not asked or gave no answer; Why says more
)

// KeyStatus is what a worker found out about one key for one user.
type KeyStatus struct {
	Fingerprint string   `json:"fingerprint"`
	State       string   `json:"state"` // a keyset.State, or "retired"
	Accepted    Accepted `json:"accepted"`
	Why         string   `json:"why,omitempty"`
}

// User is what a worker found out about one user account.
type User struct {
	Name    string `json:"name"`
	File    string `json:"file"`
	Code    string `json:"code,omitempty"` // stable reason code when this user's file could not be brought up to date
	Message string `json:"message,omitempty"`
	// Fingerprints are the keys of the managed block, read back from the file after the write.
	Fingerprints []string    `json:"fingerprints"`
	Keys         []KeyStatus `json:"keys"`
}

// Ack is a worker's acknowledgement of one keyset version. A worker has one per key-pair secret and
// replaces it on every change.
type Ack struct {
	Worker          string    `json:"worker"`    // the worker's instance ARN
	SecretARN       string    `json:"secretArn"` // of the key-pair secret
	KeysetARN       string    `json:"keysetArn"`
	KeysetVersionID string    `json:"keysetVersionId"`
	Generation      int64     `json:"generation"`
	Pass            int64     `json:"pass"` // rises with every write within one generation
	Outcome         Outcome   `json:"outcome"`
	Code            string    `json:"code,omitempty"`
	Message         string    `json:"message,omitempty"`
	Users           []User    `json:"users"`
	HostKeys        []string  `json:"hostKeys"` // public keys that sshd serves, "algorithm base64"
	Port            int       `json:"port"`     // where sshd listens for the controller
	Banner          string    `json:"banner"`   // sshd's version string, "SSH-2.0-…"
	SettingsHash    string    `json:"settingsHash,omitempty"`
	AgentVersion    string    `json:"agentVersion"`
	Pushed          bool      `json:"pushed,omitempty"` // the rotator's word for a worker without an agent
	AppliedAt       time.Time `json:"appliedAt"`        // AWS time of the last change of result
	ReportedAt      time.Time `json:"reportedAt"`       // AWS time of this write
	ExpiresAt       int64     `json:"expiresAt"`        // seconds since 1970, DynamoDB's TTL
}

// instanceARN is the form of an EC2 instance's ARN, which IAM compares with the item's partition key.
var instanceARN = regexp.MustCompile(`^arn:aws[a-z-]*:ec2:[a-z0-9-]+:[0-9]{12}:instance/i-[0-9a-f]{8,17}$`)

// InstanceID is the instance id at the end of an instance ARN, or the whole string if it is none.
func InstanceID(arn string) string {
	if i := strings.LastIndexByte(arn, '/'); i >= 0 {
		return arn[i+1:]
	}
	return arn
}

// ValidWorker reports whether arn is an EC2 instance ARN.
func ValidWorker(arn string) bool { return instanceARN.MatchString(arn) }

// Validate reports what makes a unusable, all of it joined, or nil. Readers drop an invalid
// acknowledgement: the worker then counts as silent.
func (a Ack) Validate() error {
	var errs []error
	if !ValidWorker(a.Worker) {
		errs = append(errs, fmt.Errorf("worker %.120q is not an EC2 instance ARN", a.Worker))
	}
	if a.SecretARN == "" || a.KeysetVersionID == "" || a.Generation < 1 {
		errs = append(errs, errors.New("secretArn, keysetVersionId and generation are required"))
	}
	switch a.Outcome {
	case Applied:
	case Failed:
		if a.Code == "" {
			errs = append(errs, errors.New("a failed acknowledgement needs a code"))
		}
	default:
		errs = append(errs, fmt.Errorf("outcome %.20q is unknown", string(a.Outcome)))
	}
	if a.Port < 0 || a.Port > 65535 {
		errs = append(errs, fmt.Errorf("port %d is not a TCP port", a.Port))
	}
	return errors.Join(errs...)
}

// Live reports whether the acknowledgement is still valid at the given time on AWS's clock. DynamoDB
// deletes expired items late, so that a reader must look.
func (a Ack) Live(now time.Time) bool { return a.ExpiresAt == 0 || now.Unix() < a.ExpiresAt }
