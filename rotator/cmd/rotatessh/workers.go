package main

import (
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

// workerInfo is what is known about one worker.
type workerInfo struct {
	ID      string `json:"id"`
	ARN     string `json:"arn"`
	Name    string `json:"name,omitempty"`
	Address string `json:"address"`
	Zone    string `json:"zone,omitempty"`
	// State is ready, booting, or the code of what it lacks.
	State      string `json:"state"`
	Message    string `json:"message,omitempty"`
	Generation int64  `json:"generation"` // the one that it acknowledged
	// Accepted is sshd's answer about the key that is to be used next, or about the current one when there
	// is none: yes, no or unverified.
	Accepted string `json:"accepted,omitempty"`
	// OldKeyRefused is yes, no, unknown, or not-yet while the old key's time is not over; empty without one.
	OldKeyRefused string    `json:"oldKeyRefused,omitempty"`
	AgentVersion  string    `json:"agentVersion,omitempty"`
	SSHD          string    `json:"sshd,omitempty"`
	Port          int       `json:"port,omitempty"`
	ReportedAt    time.Time `json:"reportedAt,omitzero"`
}

const (
	stateReady   = "ready"
	stateBooting = "booting"
)

// nextKey is the key that workers must accept now: the pending one if there is one, else the current one.
func nextKey(k keyset.Keyset) keyset.PublicKey {
	for _, s := range []keyset.State{keyset.Pending, keyset.Current} {
		if key, found := k.Find(s); found {
			return key.PublicKey
		}
	}
	return keyset.PublicKey{}
}

// rows judges every worker as the rotator does. An empty user means whichever accounts a worker manages.
func (f fleetState) rows(user string, now time.Time) []workerInfo {
	rows := []workerInfo{}
	for _, w := range f.workers {
		ack, found := f.acks[w.ARN]
		row := workerInfo{ID: w.ID, ARN: w.ARN, Name: w.Name, Address: w.Address, Zone: w.Zone}
		if found {
			row.Generation, row.AgentVersion, row.SSHD, row.Port, row.ReportedAt = ack.Generation, ack.AgentVersion, ack.Banner, ack.Port, ack.ReportedAt
			row.Accepted = string(answer(ack, nextKey(f.doc.Keyset).Fingerprint()))
		}
		row.State, row.Message = f.judge(w, user, now)
		row.OldKeyRefused = f.oldKeyRefused(w, now)
		rows = append(rows, row)
	}
	return rows
}

func (f fleetState) judge(w fleet.Worker, user string, now time.Time) (state, message string) {
	if ack := f.acks[w.ARN]; user == "" && len(ack.Users) > 0 {
		user = ack.Users[0].Name
	}
	readiness := fleet.Assess([]fleet.Worker{w}, f.acks, fleet.Question{
		Document: f.doc, Key: nextKey(f.doc.Keyset), User: user, PublishedAt: f.beacon.PublishedAt, Grace: bootGrace, Now: now,
	})
	switch {
	case len(readiness.Exempt) > 0:
		return stateBooting, ""
	case len(readiness.Laggards) > 0:
		return readiness.Laggards[0].Code, readiness.Laggards[0].Message
	}
	return stateReady, ""
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

func (f fleetState) oldKeyRefused(w fleet.Worker, now time.Time) string {
	if !f.published {
		return ""
	}
	old := oldKey(f.doc.Keyset, now)
	switch {
	case old == nil:
		return ""
	case !old.NotAfter.IsZero():
		return "not-yet"
	}
	r := fleet.Retired([]fleet.Worker{w}, f.acks, old.Fingerprint)
	switch {
	case len(r.Refused) > 0:
		return "yes"
	case len(r.Accepting) > 0:
		return "no"
	}
	return "unknown"
}

func summarise(rows []workerInfo) summaryInfo {
	s := summaryInfo{Workers: len(rows), NotReady: map[string]int{}}
	for _, row := range rows {
		if row.State == stateReady {
			s.Ready++
		} else {
			s.NotReady[row.State]++
		}
		if row.Accepted == string(ledger.Yes) {
			s.Accepted++
		}
		if row.OldKeyRefused == "yes" {
			s.OldKeyRefused++
		}
	}
	return s
}
