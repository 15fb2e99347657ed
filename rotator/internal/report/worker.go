package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

// bootGrace is the rotator's default for how long a new worker may be silent. Here it decides what a row
// says, nothing more.
const bootGrace = 10 * time.Minute

// Worker is what is known about one worker.
type Worker struct {
	ID      string `json:"id"`
	ARN     string `json:"arn"`
	Name    string `json:"name,omitempty"`
	Address string `json:"address"`
	Zone    string `json:"zone,omitempty"`
	// State is Ready, Booting, or the code of what it lacks.
	State      string `json:"state"`
	Message    string `json:"message,omitempty"`
	Waived     bool   `json:"waived,omitempty"` // it does not count: it is not ready, and an operator has waived it
	Pushed     bool   `json:"pushed,omitempty"` // it has no agent: the rotator acknowledged for it
	Generation int64  `json:"generation"`       // the one that it acknowledged
	// Accepted is sshd's answer about the key that is to be used next, or about the current one when there
	// is none: yes, no or unverified.
	Accepted string `json:"accepted,omitempty"`
	// OldKeyRefused is yes, no, unknown, or not-yet while the old key's time is not over; empty without one.
	OldKeyRefused string    `json:"oldKeyRefused,omitempty"`
	AgentVersion  string    `json:"agentVersion,omitempty"`
	SSHD          string    `json:"sshd,omitempty"`
	Port          int       `json:"port,omitempty"`
	AppliedAt     time.Time `json:"appliedAt,omitzero"` // when what it acknowledges came to be so
	ReportedAt    time.Time `json:"reportedAt,omitzero"`
}

// States of workers that are no reason to be not ready.
const (
	Ready   = "ready"
	Booting = "booting" // launched after the publication, and silent for no longer than it may
)

// The answers in OldKeyRefused.
const (
	RefusedYes     = "yes"
	RefusedNo      = "no"
	RefusedUnknown = "unknown"
	RefusedNotYet  = "not-yet"
)

// nextKey is the key that workers must accept now: the pending one if there is one, else the current one.
func nextKey(k keyset.Keyset) keyset.Key {
	for _, s := range []keyset.State{keyset.Pending, keyset.Current} {
		if key, found := k.Find(s); found {
			return key
		}
	}
	return keyset.Key{}
}

// rows judges every worker as the rotator does, and puts those that need attention first.
func (f Facts) rows() []Worker {
	waived := make(map[string]bool, len(f.Waivers))
	for _, w := range f.Waivers {
		waived[w.Worker] = true
	}
	next := nextKey(f.Document.Keyset).PublicKey.Fingerprint()
	rows := make([]Worker, 0, len(f.Workers))
	for _, w := range f.Workers {
		row := Worker{ID: w.ID, ARN: w.ARN, Name: w.Name, Address: w.Address, Zone: w.Zone}
		if ack, found := f.Acks[w.ARN]; found {
			row.Generation, row.AgentVersion, row.SSHD, row.Port = ack.Generation, ack.AgentVersion, ack.Banner, ack.Port
			row.AppliedAt, row.ReportedAt, row.Pushed = ack.AppliedAt, ack.ReportedAt, ack.Pushed
			row.Accepted = string(answer(ack, next))
		}
		row.State, row.Message = f.judge(w)
		row.Waived = waived[w.ID] && row.State != Ready
		row.OldKeyRefused = f.oldKeyRefused(w)
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b Worker) int { return cmp.Compare(a.urgency(), b.urgency()) })
	return rows
}

// urgency orders workers: the lower, the more somebody should look at it.
func (w Worker) urgency() int {
	switch {
	case w.OldKeyRefused == RefusedNo:
		return 0
	case w.State == Ready:
		return 4
	case w.State == Booting:
		return 3
	case w.Waived:
		return 2
	}
	return 1
}

func (f Facts) judge(w fleet.Worker) (state, message string) {
	user := f.User
	if ack := f.Acks[w.ARN]; user == "" && len(ack.Users) > 0 {
		user = ack.Users[0].Name
	}
	readiness := fleet.Assess([]fleet.Worker{w}, f.Acks, fleet.Question{
		Document: f.Document, Key: nextKey(f.Document.Keyset).PublicKey, User: user, PublishedAt: f.Beacon.PublishedAt, Grace: bootGrace, Now: f.Now,
	})
	switch {
	case len(readiness.Exempt) > 0:
		return Booting, ""
	case len(readiness.Laggards) > 0:
		return readiness.Laggards[0].Code, readiness.Laggards[0].Message
	}
	return Ready, ""
}

// answer is the least favourable answer about a key among a worker's accounts.
func answer(a ledger.Ack, fingerprint string) ledger.Accepted {
	worst := ledger.Accepted("")
	for _, u := range a.Users {
		for _, k := range u.Keys {
			switch {
			case k.Fingerprint != fingerprint:
			case worst == "", k.Accepted == ledger.No, worst == ledger.Yes:
				worst = k.Accepted
			}
		}
	}
	return worst
}

func (f Facts) oldKeyRefused(w fleet.Worker) string {
	if !f.Published {
		return ""
	}
	old := oldKeyOf(f.Document.Keyset, f.Now)
	switch {
	case old == nil:
		return ""
	case !old.NotAfter.IsZero():
		return RefusedNotYet
	}
	r := fleet.Retired([]fleet.Worker{w}, f.Acks, old.Fingerprint)
	switch {
	case len(r.Refused) > 0:
		return RefusedYes
	case len(r.Accepting) > 0:
		return RefusedNo
	}
	return RefusedUnknown
}

// Summary counts workers.
type Summary struct {
	Workers       int `json:"workers"`  // all that run
	Expected      int `json:"expected"` // those that count: neither booting nor waived
	Ready         int `json:"ready"`
	Booting       int `json:"booting"`
	Waived        int `json:"waived"`
	Accepted      int `json:"accepted"` // their sshd accepts the key that is to be used next
	OldKeyRefused int `json:"oldKeyRefused"`
	OldKeyAllowed int `json:"oldKeyAccepted"` // still, though its time is over
	OldKeyUnknown int `json:"oldKeyUnknown"`  // its time is over, and nobody knows
	// NotReady is how many workers that count there are for each state but Ready.
	NotReady map[string]int `json:"notReady"`
}

func summarise(rows []Worker) Summary {
	s := Summary{Workers: len(rows), NotReady: map[string]int{}}
	count := func(n *int, is bool) {
		if is {
			*n++
		}
	}
	for _, row := range rows {
		count(&s.Ready, row.State == Ready)
		count(&s.Booting, row.State == Booting && !row.Waived)
		count(&s.Waived, row.Waived)
		count(&s.Accepted, row.Accepted == string(ledger.Yes))
		count(&s.OldKeyRefused, row.OldKeyRefused == RefusedYes)
		count(&s.OldKeyAllowed, row.OldKeyRefused == RefusedNo)
		count(&s.OldKeyUnknown, row.OldKeyRefused == RefusedUnknown)
		if row.State != Ready && row.State != Booting && !row.Waived {
			s.NotReady[row.State]++
		}
	}
	s.Expected = s.Workers - s.Booting - s.Waived
	return s
}
