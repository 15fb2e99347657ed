package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// stateRetired is how a key is called that must not be accepted any more.
const stateRetired = "retired"

// Facts are what was read from AWS. New does not change them.
type Facts struct {
	Now       time.Time // AWS's
	Secret    Secret
	Document  keystore.Document // the keyset in force
	Published bool              // false: there has never been a keyset, and Document is empty
	Beacon    ledger.Beacon
	Workers   []fleet.Worker
	Acks      map[string]ledger.Ack // by worker's ARN
	Waivers   []ledger.Waiver       // those that count now
	Records   []ledger.Report       // the rotator's last ones, in any order
	// Inventory is where Workers come from: FromRotator, FromTag, or empty if nobody asked.
	Inventory string
	Notes     []string // what the report may be wrong about, as its maker knows
	// User is the account that a worker must manage to be ready; empty means whichever it manages.
	User string
}

// Report is the state of a rotation and of the fleet at one moment. Its JSON is what status and report print.
type Report struct {
	At       time.Time `json:"at"`
	Secret   Secret    `json:"secret"`
	Rotation Rotation  `json:"rotation"`
	Keyset   *Keyset   `json:"keyset"` // null until one has been published
	OldKey   *OldKey   `json:"oldKey"` // null until a key has been replaced
	Summary  Summary   `json:"summary"`
	// Ready tells how fast workers became ready for the key that is pending or, when none is, for the current
	// one; null if that is not known.
	Ready *Convergence `json:"ready"`
	// Retired tells how fast workers refused the old key once its time was over; null before that.
	Retired   *Convergence    `json:"retired"`
	Inventory string          `json:"inventory"` // where workers come from: FromRotator or FromTag
	Workers   []Worker        `json:"workers"`   // those that need attention come first
	Waivers   []ledger.Waiver `json:"waivers"`
	Notes     []string        `json:"notes"`   // what this report may be wrong about
	Records   []ledger.Report `json:"reports"` // the rotator's last ones, the newest first
	History   []Past          `json:"history"` // what they tell, rotation by rotation, the newest first
}

// The sources of workers.
const (
	FromRotator = "rotator" // the rotator's own answer, by its settings
	FromTag     = "tag"     // running instances of one region that bear a tag
)

// Rotation says whether a rotation is under way.
type Rotation struct {
	State     string    `json:"state"` // Idle, InProgress, Failing
	VersionID string    `json:"versionId,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Message   string    `json:"message,omitempty"` // why it is failing
}

// The states of a rotation.
const (
	Idle       = "idle"
	InProgress = "in-progress"
	Failing    = "failing" // a step failed and has not passed since: AWS tries again
)

// Keyset is the document in force.
type Keyset struct {
	ARN         string       `json:"arn"`
	VersionID   string       `json:"versionId"`
	Generation  int64        `json:"generation"`
	Phase       keyset.Phase `json:"phase"`
	PublishedAt time.Time    `json:"publishedAt,omitzero"`
}

// OldKey is the key that was replaced last: every worker is to refuse it from NotAfter on, which is zero once
// that is past.
type OldKey struct {
	Fingerprint string    `json:"fingerprint"`
	VersionID   string    `json:"versionId,omitempty"`
	NotAfter    time.Time `json:"notAfter,omitzero"`
}

// New judges the facts.
func New(f Facts) Report {
	r := Report{At: f.Now, Secret: f.Secret, Inventory: f.Inventory, Waivers: slices.Clone(f.Waivers), Records: newestFirst(f.Records)}
	if r.Waivers == nil {
		r.Waivers = []ledger.Waiver{}
	}
	r.Secret.Versions = slices.Clone(f.Secret.Versions)
	r.Rotation = rotationOf(f.Secret, r.Records)
	if f.Published {
		r.describeKeyset(f)
	}
	r.Workers = f.rows()
	r.Summary = summarise(r.Workers)
	r.Ready, r.Retired = f.readiness(r), f.retirement(r)
	r.Notes = append(append([]string{}, f.Notes...), r.notes()...)
	r.History = historyOf(r.Secret, r.Records, r.At)
	return r
}

// notes compares with what the rotator counted: it may know workers that the reader of the facts was not led to.
func (r Report) notes() []string {
	for _, record := range r.Records {
		counted := record.Expected + len(record.Waived)
		if record.Phase != phaseTest && record.Phase != phaseFinish || counted == 0 {
			continue
		}
		if counted > r.Summary.Workers {
			others := "the others have gone, or its settings name regions, accounts, groups or a list that this command was not told"
			if r.Inventory == FromRotator {
				others = "it lists the others no longer"
			}
			return []string{fmt.Sprintf("the rotator counted %s %s, %d of which are listed here: %s",
				plural.Of(counted, "worker"), Age(r.At, record.At), r.Summary.Workers, others)}
		}
		break
	}
	return nil
}

// newestFirst sorts a copy by time; the ledger gives records by generation and then by name. No list in it is nil.
func newestFirst(records []ledger.Report) []ledger.Report {
	sorted := slices.Clone(records)
	slices.SortStableFunc(sorted, func(a, b ledger.Report) int { return b.At.Compare(a.At) })
	for i := range sorted {
		if sorted[i].Laggards == nil {
			sorted[i].Laggards = []ledger.Laggard{}
		}
	}
	if sorted == nil {
		return []ledger.Report{}
	}
	return sorted
}

// rotationOf tells the state from the labels, and why from the rotator's records, of which the newest
// comes first. A failed step counts until the same step has passed: AWS tries again from the first one.
func rotationOf(s Secret, records []ledger.Report) Rotation {
	pending := s.Pending()
	if pending == "" {
		return Rotation{State: Idle}
	}
	r := Rotation{State: InProgress, VersionID: pending}
	for _, v := range s.Versions {
		if v.ID == pending {
			r.Since = v.Created
		}
	}
	passed := make(map[string]bool)
	for _, record := range records {
		switch {
		case record.VersionID != pending || passed[record.Phase]:
		case record.Passed:
			passed[record.Phase] = true
		default:
			r.State, r.Message = Failing, record.Phase+": "+record.Message
			return r
		}
	}
	return r
}

// RotationOf is the Rotation of a secret as the rotator's records explain it, for who needs nothing else.
func RotationOf(s Secret, records []ledger.Report) Rotation {
	return rotationOf(s, newestFirst(records))
}

// describeKeyset fills in what the keyset says about itself and about the secret's versions.
func (r *Report) describeKeyset(f Facts) {
	k := f.Document.Keyset
	r.Keyset = &Keyset{ARN: f.Document.ARN, VersionID: f.Document.VersionID, Generation: k.Generation, Phase: k.Phase(f.Now)}
	if f.Beacon.Generation == k.Generation {
		r.Keyset.PublishedAt = f.Beacon.PublishedAt
	}
	for i := range r.Secret.Versions {
		r.Secret.Versions[i].describe(k.Effective(f.Now))
	}
	r.OldKey = oldKeyOf(k, f.Now)
}

func oldKeyOf(k keyset.Keyset, now time.Time) *OldKey {
	k = k.Effective(now)
	var old *OldKey
	for _, key := range k.Keys {
		if key.State == keyset.Retiring && (old == nil || key.NotAfter.After(old.NotAfter)) {
			old = &OldKey{Fingerprint: key.PublicKey.Fingerprint(), VersionID: key.VersionID, NotAfter: key.NotAfter}
		}
	}
	if old == nil && len(k.Retired) > 0 {
		old = &OldKey{Fingerprint: k.Retired[0].Fingerprint, VersionID: k.Retired[0].VersionID}
	}
	return old
}

// Nobody says that there are no workers.
func (r Report) Nobody() string {
	if r.Inventory == FromRotator {
		return "the rotator has no workers: nothing that its settings name is running"
	}
	return "no running instance bears the workers' tag"
}

// Keys are the versions that bear a label and, if it has lost its own, the one of the old key.
func (r Report) Keys() []Version {
	keys := slices.Clone(r.Secret.Versions)
	if old := r.OldKey; old != nil && !slices.ContainsFunc(keys, func(v Version) bool { return v.Fingerprint == old.Fingerprint }) {
		state := stateRetired
		if !old.NotAfter.IsZero() {
			state = string(keyset.Retiring)
		}
		keys = append(keys, Version{ID: old.VersionID, Labels: []string{}, Fingerprint: old.Fingerprint, State: state, NotAfter: old.NotAfter})
	}
	return keys
}
