package rotation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
)

// What subscribers filter events by.
const (
	eventSource     = "rotatessh"
	eventDetailType = "SSH Keyset Published"
)

// signal brings the beacon up to the document in force and then wakes the fleet. An earlier run that died
// in between is made good for: the beacon shows how far it came.
func (r *Rotator) signal(ctx context.Context, s *state) error {
	if len(s.doc.Keyset.Keys) == 0 {
		return nil
	}
	old, found, err := r.Ledger.BeaconConsistent(ctx, s.secret.arn)
	if err != nil {
		return err
	}
	now, err := r.now()
	if err != nil {
		return err
	}
	s.beacon = ledger.Beacon{
		SecretARN: s.secret.arn, Generation: s.doc.Keyset.Generation, KeysetVersionID: s.doc.VersionID,
		Phase: s.doc.Keyset.Phase(now), FleetSize: old.FleetSize, PublishedAt: now,
	}
	known := found && old.Generation == s.beacon.Generation && old.KeysetVersionID == s.beacon.KeysetVersionID
	if known {
		s.beacon.PublishedAt = old.PublishedAt
		if old.Phase == s.beacon.Phase {
			return nil
		}
	}
	if workers, err := r.Fleet.Workers(ctx); err == nil {
		s.beacon.FleetSize = len(workers)
	} else {
		r.Log.Warn("fleet size for the beacon is not known, keeping the last one", zap.Error(err))
	}
	if err := r.Ledger.PutBeacon(ctx, s.beacon); err != nil && !errors.Is(err, ledger.ErrStale) {
		return err
	}
	if !known {
		s.announced = true
		r.announce(ctx, s.doc, s.beacon.Phase)
	}
	return nil
}

// announceAgain is for a step whose first run may have died between the beacon and the event. Nobody is
// the worse for an event that came twice.
func (r *Rotator) announceAgain(ctx context.Context, s state) {
	if !s.announced && len(s.doc.Keyset.Keys) > 0 {
		r.announce(ctx, s.doc, s.beacon.Phase)
	}
}

type announcedKey struct {
	Fingerprint string           `json:"fingerprint"`
	State       keyset.State     `json:"state"`
	PublicKey   keyset.PublicKey `json:"publicKey"`
}

type announcement struct {
	SecretARN       string         `json:"secretArn"`
	KeysetARN       string         `json:"keysetArn"`
	Generation      int64          `json:"generation"`
	KeysetVersionID string         `json:"keysetVersionId"`
	Phase           keyset.Phase   `json:"phase"`
	Keys            []announcedKey `json:"keys"`
}

// announce tells subscribers that there is a new keyset. It is a hint that saves them a minute: workers
// find out by themselves, so that a bus which is down must not stop a rotation.
func (r *Rotator) announce(ctx context.Context, doc keystore.Document, phase keyset.Phase) {
	a := announcement{
		SecretARN: doc.Keyset.SecretARN, KeysetARN: doc.ARN, Generation: doc.Keyset.Generation,
		KeysetVersionID: doc.VersionID, Phase: phase,
	}
	for _, k := range doc.Keyset.Keys {
		a.Keys = append(a.Keys, announcedKey{k.PublicKey.Fingerprint(), k.State, k.PublicKey})
	}
	if err := r.put(ctx, eventDetailType, a, a.SecretARN, a.KeysetARN); err != nil {
		r.Log.Warn("announcing the keyset did not work, workers will find it by polling", logging.Generation(a.Generation), zap.Error(err))
	}
}

// put sends one event about the named resources.
func (r *Rotator) put(ctx context.Context, detailType string, content any, resources ...string) error {
	detail, err := json.Marshal(content)
	if err != nil {
		return err
	}
	out, err := r.Bus.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		EventBusName: &r.Policy.EventBus, Source: aws.String(eventSource), DetailType: &detailType,
		Resources: resources, Detail: aws.String(string(detail)),
	}}})
	if err != nil {
		return err
	}
	for _, entry := range out.Entries {
		if entry.ErrorCode != nil {
			return fmt.Errorf("the bus refused the event: %s: %s", aws.ToString(entry.ErrorCode), aws.ToString(entry.ErrorMessage))
		}
	}
	return nil
}

// keyFields logs keys by state and fingerprint.
type keyFields []keyset.Key

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (keys keyFields) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	for _, k := range keys {
		enc.AppendString(string(k.State) + " " + k.PublicKey.Fingerprint())
	}
	return nil
}
