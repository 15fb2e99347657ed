package rotation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
	"github.com/rotatessh/rotatessh/rotator/internal/safeguard"
)

// event is the union of everything that the function is invoked with.
type event struct {
	// Secrets Manager's rotation request. Names are matched without regard to case, as encoding/json does.
	Step               string
	SecretID           string `json:"SecretId"`
	ClientRequestToken string
	RotationToken      string // never logged

	// EventBridge's envelope.
	ID         string   `json:"id"`
	Source     string   `json:"source"`
	DetailType string   `json:"detail-type"`
	Account    string   `json:"account"`
	Resources  []string `json:"resources"`
	Detail     struct {
		LabelUpdated string `json:"labelUpdated"` // Secrets Manager's
		InstanceID   string `json:"instance-id"`  // EC2's
		State        string `json:"state"`
		SecretARN    string `json:"secretArn"` // of one that asks for a rotation
		Reason       string `json:"reason"`
	} `json:"detail"`
}

// Result is what an event is answered with; a rotation step answers nothing, since Secrets Manager looks
// only at whether it failed.
type Result struct {
	SecretARN       string       `json:"secretArn,omitempty"`
	Generation      int64        `json:"generation"`
	KeysetVersionID string       `json:"keysetVersionId,omitempty"`
	Phase           keyset.Phase `json:"phase,omitempty"`
	Published       bool         `json:"published"`
	Ignored         string       `json:"ignored,omitempty"`   // why the event asked for nothing
	VersionID       string       `json:"versionId,omitempty"` // of the rotation that the event has started
	Refused         string       `json:"refused,omitempty"`   // why it has started none
	QueueRemoved    bool         `json:"queueRemoved,omitempty"`
}

// Handle does what an event asks for: a step of a rotation, reconciling after AWSCURRENT has moved or on a
// schedule, starting a rotation, tidying up after an instance, or what an operator asks for. An event of any other form is an error. Errors name versions, workers and fingerprints, and
// never hold a private key or the event's RotationToken.
func (r *Rotator) Handle(ctx context.Context, raw json.RawMessage) (any, error) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, errors.New("event is not a JSON object of a known form")
	}
	switch {
	case e.Source == operator.Source:
		return r.operate(ctx, raw)
	case e.Step != "":
		return nil, r.as(actorRotation, e.Step).step(ctx, e)
	case e.Source == "aws.secretsmanager" && e.DetailType == "Secret Label Updated":
		return r.as(actorLabel, "AWSCURRENT has moved").labelMoved(ctx, e)
	case e.DetailType == "Scheduled Event":
		return r.as(actorSchedule, "reconciling").scheduled(ctx)
	case e.Source == eventSource && e.DetailType == requestDetailType:
		return r.requestedByEvent(ctx, e)
	case e.Source == "aws.ec2" && e.DetailType == "EC2 Instance State-change Notification":
		return r.as("event of EC2", "an instance has changed").instanceChanged(ctx, e)
	}
	return nil, fmt.Errorf("event with source %.40q and detail-type %.40q is neither a rotation step nor one that the rotator serves", e.Source, e.DetailType)
}

func (r *Rotator) step(ctx context.Context, e event) error {
	if e.SecretID == "" || e.ClientRequestToken == "" {
		return fmt.Errorf("rotation step %.40s lacks SecretId or ClientRequestToken", e.Step)
	}
	return r.run(ctx, request{step: e.Step, secretARN: e.SecretID, token: e.ClientRequestToken, rotationToken: e.RotationToken})
}

func (r *Rotator) run(ctx context.Context, req request) error {
	steps := map[string]func(context.Context, request) error{
		"createSecret": r.createSecret,
		"setSecret":    r.setSecret,
		"testSecret":   r.testSecret,
		"finishSecret": r.finishSecret,
	}
	run, known := steps[req.step]
	if !known {
		return fmt.Errorf("rotation step %.40q is unknown", req.step)
	}
	r.Log.Info("step started", logging.Step(req.step), logging.SecretID(req.secretARN), logging.VersionID(req.token))
	done, err := r.precheck(ctx, req)
	if err == nil && !done {
		err = run(ctx, req)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", req.step, err)
	}
	r.Log.Info("step done", logging.Step(req.step), logging.SecretID(req.secretARN), logging.VersionID(req.token))
	return nil
}

// labelMoved reconciles after AWSCURRENT of the key-pair secret has moved, by whomever. Rules that match
// every secret are common, and the keyset secret's own labels move too: such events are ignored.
func (r *Rotator) labelMoved(ctx context.Context, e event) (Result, error) {
	if e.Detail.LabelUpdated != labelCurrent || len(e.Resources) != 1 {
		return Result{Ignored: "not a move of " + labelCurrent}, nil
	}
	return r.reconcileIfOurs(ctx, e.Resources[0])
}

// scheduled reconciles whatever secret the keyset serves, whether rotation is switched on or not.
func (r *Rotator) scheduled(ctx context.Context) (Result, error) {
	out, err := r.reconcileIfOurs(ctx, "")
	r.sweep(ctx)
	return out, err
}

func (r *Rotator) reconcileIfOurs(ctx context.Context, secretARN string) (Result, error) {
	if !safeguard.Repair {
		return Result{Ignored: "repairs are switched off in this build"}, nil
	}
	doc, err := r.Keysets.Fetch(ctx)
	if errors.Is(err, keyset.ErrEmpty) {
		return Result{Ignored: "nothing has been published yet"}, nil
	}
	if err != nil {
		return Result{}, err
	}
	if secretARN != "" && secretARN != doc.Keyset.SecretARN {
		return Result{Ignored: "not the key-pair secret that the keyset serves"}, nil
	}
	s, err := r.reconcile(ctx, doc.Keyset.SecretARN)
	if err != nil {
		return Result{}, fmt.Errorf("reconciling: %w", err)
	}
	if err := r.tend(ctx, s); err != nil {
		r.Log.Warn("workers without an agent were not served", zap.Error(err))
	}
	r.reportSteady(ctx, s)
	r.Log.Info("reconciled", logging.SecretID(s.secret.arn), logging.Generation(s.doc.Keyset.Generation), zap.Bool("published", s.published))
	return Result{
		SecretARN: s.secret.arn, Generation: s.doc.Keyset.Generation, KeysetVersionID: s.doc.VersionID,
		Phase: s.beacon.Phase, Published: s.published,
	}, nil
}
