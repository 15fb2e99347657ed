package main

import (
	"context"
	"errors"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

// bootGrace is the rotator's default for how long a new worker may be silent. Here it decides what a row
// says, nothing more.
const bootGrace = 10 * time.Minute

// overview is the state of a rotation and of the fleet at one moment. It is what status prints as JSON.
type overview struct {
	At       time.Time       `json:"at"`
	Secret   secretInfo      `json:"secret"`
	Rotation rotationInfo    `json:"rotation"`
	Keyset   *keysetInfo     `json:"keyset"` // null until one has been published
	OldKey   *oldKeyInfo     `json:"oldKey"` // null until a key has been replaced
	Summary  summaryInfo     `json:"summary"`
	Workers  []workerInfo    `json:"workers"`
	Waivers  []ledger.Waiver `json:"waivers"`
	Reports  []ledger.Report `json:"reports"` // the rotator's last ones, the newest first
}

// rotationInfo says whether a rotation is under way.
type rotationInfo struct {
	State     string    `json:"state"` // idle, in-progress, failing
	VersionID string    `json:"versionId,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Message   string    `json:"message,omitempty"` // why it is failing
}

type keysetInfo struct {
	ARN         string       `json:"arn"`
	VersionID   string       `json:"versionId"`
	Generation  int64        `json:"generation"`
	Phase       keyset.Phase `json:"phase"`
	PublishedAt time.Time    `json:"publishedAt,omitzero"`
}

// oldKeyInfo is the key that was replaced last: every worker is to refuse it from NotAfter on, which is zero
// once that is past.
type oldKeyInfo struct {
	Fingerprint string    `json:"fingerprint"`
	VersionID   string    `json:"versionId,omitempty"`
	NotAfter    time.Time `json:"notAfter,omitzero"`
}

// oldKey finds it in k.
func oldKey(k keyset.Keyset, now time.Time) *oldKeyInfo {
	k = k.Effective(now)
	var old *oldKeyInfo
	for _, key := range k.Keys {
		if key.State == keyset.Retiring && (old == nil || key.NotAfter.After(old.NotAfter)) {
			old = &oldKeyInfo{Fingerprint: key.PublicKey.Fingerprint(), VersionID: key.VersionID, NotAfter: key.NotAfter}
		}
	}
	if old == nil && len(k.Retired) > 0 {
		old = &oldKeyInfo{Fingerprint: k.Retired[0].Fingerprint, VersionID: k.Retired[0].VersionID}
	}
	return old
}

type summaryInfo struct {
	Workers       int            `json:"workers"`
	Ready         int            `json:"ready"`
	Accepted      int            `json:"accepted"`
	OldKeyRefused int            `json:"oldKeyRefused"`
	NotReady      map[string]int `json:"notReady"` // how many there are for each state but ready
}

// overview reads everything. It reads no private key.
func (b *backend) overview(ctx context.Context, user string) (overview, error) {
	var o overview
	var err error
	if o.Secret, err = b.describe(ctx); err != nil {
		return o, err
	}
	if err = b.addAges(ctx, &o.Secret); err != nil {
		return o, err
	}
	if o.Reports, err = b.ledger.Reports(ctx, o.Secret.ARN, 20); err != nil {
		return o, err
	}
	if o.Waivers, err = b.ledger.Waivers(ctx, o.Secret.ARN, b.now()); err != nil {
		return o, err
	}
	newestFirst(o.Reports)
	for i := range o.Reports {
		if o.Reports[i].Laggards == nil {
			o.Reports[i].Laggards = []ledger.Laggard{} // a list in JSON, too
		}
	}
	fleetState, err := b.fleetState(ctx, o.Secret.ARN)
	if err != nil {
		return o, err
	}
	o.At = b.now()
	o.Rotation = rotationOf(o.Secret, o.Reports)
	o.describeKeyset(fleetState)
	o.Workers = fleetState.rows(user, o.At)
	o.Summary = summarise(o.Workers)
	return o, nil
}

// fleetState is the keyset in force and what workers say about it.
type fleetState struct {
	doc       keystore.Document
	published bool
	beacon    ledger.Beacon
	workers   []fleet.Worker
	acks      map[string]ledger.Ack
}

func (b *backend) fleetState(ctx context.Context, secretARN string) (fleetState, error) {
	f := fleetState{published: true}
	var err error
	if f.doc, err = b.keysets.Fetch(ctx); errors.Is(err, keyset.ErrEmpty) {
		f.published, err = false, nil
	}
	if err != nil {
		return f, err
	}
	if f.beacon, _, err = b.ledger.Beacon(ctx, secretARN); err != nil {
		return f, err
	}
	if f.workers, err = b.fleet.Workers(ctx); err != nil {
		return f, err
	}
	f.acks, err = b.ledger.Acks(ctx, secretARN, fleet.ARNs(f.workers), b.now())
	return f, err
}

// rotationOf tells the state from the labels, and why from the rotator's reports, of which the newest
// comes first. A failed step counts until the same step has passed: AWS tries again from the first one.
func rotationOf(s secretInfo, reports []ledger.Report) rotationInfo {
	pending := s.pending()
	if pending == "" {
		return rotationInfo{State: "idle"}
	}
	r := rotationInfo{State: "in-progress", VersionID: pending}
	for _, v := range s.Versions {
		if v.ID == pending {
			r.Since = v.Created
		}
	}
	passed := make(map[string]bool)
	for _, report := range reports {
		switch {
		case report.VersionID != pending || passed[report.Phase]:
		case report.Passed:
			passed[report.Phase] = true
		default:
			r.State, r.Message = "failing", report.Phase+": "+report.Message
			return r
		}
	}
	return r
}

// describeKeyset fills in what the keyset says about itself and about the secret's versions.
func (o *overview) describeKeyset(f fleetState) {
	if !f.published {
		return
	}
	k := f.doc.Keyset
	o.Keyset = &keysetInfo{ARN: f.doc.ARN, VersionID: f.doc.VersionID, Generation: k.Generation, Phase: k.Phase(o.At)}
	if f.beacon.Generation == k.Generation {
		o.Keyset.PublishedAt = f.beacon.PublishedAt
	}
	for i := range o.Secret.Versions {
		o.Secret.Versions[i].describe(k, o.At)
	}
	o.OldKey = oldKey(k, o.At)
}

func (v *versionInfo) describe(k keyset.Keyset, now time.Time) {
	k = k.Effective(now)
	for _, key := range k.Keys {
		if key.VersionID == v.ID {
			v.Fingerprint, v.State, v.NotAfter = key.PublicKey.Fingerprint(), string(key.State), key.NotAfter
		}
	}
	for _, r := range k.Retired {
		if r.VersionID == v.ID {
			v.Fingerprint, v.State = r.Fingerprint, "retired"
		}
	}
}
