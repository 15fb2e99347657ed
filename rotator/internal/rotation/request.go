package rotation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
	"github.com/rotatessh/rotatessh/rotator/internal/safeguard"
)

// requestDetailType is that of events, of our own source, which ask for a rotation.
const requestDetailType = "SSH Key Rotation Requested"

// requestWindow is the time in which one rotation may be started by request: findings come in swarms, and
// each rotation is a wake-up of the whole fleet.
const requestWindow = 10 * time.Minute

const (
	phaseRequested = "requested"
	phaseRefused   = "request-refused"
)

// refusal says why a request starts no rotation. Asking again would not help, unlike after other errors.
type refusal struct{ why string }

func (r *refusal) Error() string { return "refused: " + r.why }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// requestedByEvent starts a rotation for an event. A refusal is an answer and no failure, which would only
// make Lambda repeat the event.
func (r *Rotator) requestedByEvent(ctx context.Context, e event) (Result, error) {
	if e.ID == "" || len(e.ID) > 128 || !strings.HasPrefix(e.Detail.SecretARN, "arn:") {
		return Result{}, errors.New("event that asks for a rotation lacks its id or detail.secretArn")
	}
	digest := sha256.Sum256([]byte(e.Detail.SecretARN + "\x00" + e.ID)) // a version id that a repetition makes again
	actor, reason := strings.TrimSpace("event "+oneLine(e.ID)+" "+oneLine(e.Account)), oneLine(e.Detail.Reason)
	req, _, err := r.as(actor, reason).startRotation(ctx, ledger.RotationRequest{
		SecretARN: e.Detail.SecretARN, ID: oneLine(e.ID), Actor: actor, Reason: reason, VersionID: hex.EncodeToString(digest[:]),
	})
	if no, refused := errors.AsType[*refusal](err); refused {
		return Result{SecretARN: e.Detail.SecretARN, Refused: no.why}, nil
	}
	return Result{SecretARN: e.Detail.SecretARN, VersionID: req.VersionID}, err
}

// requestedByOperator starts a rotation that an operator gives a reason for.
func (r *Rotator) requestedByOperator(ctx context.Context, req operator.Request) (outcome, error) {
	_, already, err := r.startRotation(ctx, ledger.RotationRequest{
		SecretARN: req.SecretARN, ID: "operator-" + req.VersionID, Actor: req.Actor, Reason: req.Reason, VersionID: req.VersionID,
	})
	out := outcome{already: already, message: fmt.Sprintf("a rotation to version %s is started", req.VersionID)}
	if err != nil {
		return out, err
	}
	if out.doc, err = r.Keysets.Fetch(ctx); errors.Is(err, keyset.ErrEmpty) {
		err = nil
	}
	if err == nil {
		out.secret, err = r.describe(ctx, req.SecretARN)
	}
	return out, err
}

// startRotation starts the rotation that is asked for, unless the answer is on record, and records what came
// of it. The request is then the recorded one.
func (r *Rotator) startRotation(ctx context.Context, req ledger.RotationRequest) (_ ledger.RotationRequest, already bool, err error) {
	before, found, err := r.Ledger.Request(ctx, req.SecretARN, req.ID)
	switch {
	case err != nil:
		return req, false, err
	case found && before.Refused != "":
		return before, true, refuse("%s", before.Refused)
	case found:
		return before, true, nil
	}
	if req.At, err = r.now(); err != nil {
		return req, false, err
	}
	already, err = r.begin(ctx, req)
	if no, refused := errors.AsType[*refusal](err); refused {
		req.Refused = no.why
	} else if err != nil {
		return req, false, err
	}
	r.recordRequest(ctx, req)
	return req, already, err
}

// begin makes Secrets Manager start the rotation. What it leaves behind where it dies is completed by the
// same request, which comes again and finds its own window and its own version.
func (r *Rotator) begin(ctx context.Context, req ledger.RotationRequest) (already bool, err error) {
	if already, err = r.mayBegin(ctx, req); already || err != nil {
		return already, err
	}
	holder, err := r.Ledger.ClaimWindow(ctx, req, requestWindow)
	if !safeguard.Window {
		err = nil
	}
	if errors.Is(err, ledger.ErrWindowHeld) {
		return false, refuse("%s has started a rotation at %s (%s), and one request in %v is granted",
			holder.Actor, holder.At.UTC().Format(time.RFC3339), holder.Reason, requestWindow)
	}
	if err != nil {
		return false, err
	}
	_, rotateErr := r.Secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: &req.SecretARN, ClientRequestToken: &req.VersionID})
	if rotateErr == nil {
		return false, nil
	}
	s, err := r.settled(ctx, req.SecretARN, func(s secret) bool { return len(s.stages[req.VersionID]) > 0 })
	if err == nil && len(s.stages[req.VersionID]) > 0 {
		return false, nil // only the answer was lost
	}
	err = errors.Join(err, r.Ledger.ReleaseWindow(ctx, req))
	if no, ok := errors.AsType[*types.InvalidRequestException](rotateErr); ok && err == nil {
		return false, refuse("Secrets Manager says: %s", no.ErrorMessage())
	}
	return false, fmt.Errorf("starting the rotation: %w", errors.Join(rotateErr, err))
}

// mayBegin looks whether there is anything against the request besides the window. already means that an
// earlier run of the same request has begun it.
func (r *Rotator) mayBegin(ctx context.Context, req ledger.RotationRequest) (already bool, err error) {
	doc, err := r.Keysets.Fetch(ctx)
	switch {
	case err != nil && !errors.Is(err, keyset.ErrEmpty):
		return false, err
	case err == nil && doc.Keyset.SecretARN != req.SecretARN:
		return false, refuse("the keyset secret serves another key-pair secret, %q", doc.Keyset.SecretARN)
	}
	s, err := r.describe(ctx, req.SecretARN)
	if err != nil {
		return false, err
	}
	switch {
	case len(s.stages[req.VersionID]) > 0:
		return true, nil
	case req.Reason == "":
		return false, refuse("no reason is given")
	case s.replicas > 0:
		return false, refuse("the secret is replicated to %s; workers there could not follow", plural.Of(s.replicas, "region"))
	case !s.enabled:
		return false, refuse("rotation of the secret is switched off")
	case s.pending() != "":
		return false, refuse("a rotation to version %s is pending; it is to be completed or given up first", s.pending())
	}
	return false, nil
}

// recordRequest keeps what came of a request: for its repetitions, for the log and for the reports. Without
// the record a repetition finds the same again.
func (r *Rotator) recordRequest(ctx context.Context, req ledger.RotationRequest) {
	what := "rotation is started by request"
	if req.Refused != "" {
		what = "request for a rotation is refused"
	}
	r.Log.Info(what, logging.SecretID(req.SecretARN), logging.VersionID(req.VersionID), zap.String("id", req.ID), zap.String("refused", req.Refused))
	err := r.reportRequest(ctx, req)
	if err == nil {
		err = r.Ledger.PutRequest(ctx, req) // last: a repetition that finds it does nothing more
	}
	if err != nil {
		r.Log.Warn("request was not recorded", zap.String("id", req.ID), zap.Error(err))
	}
}

func (r *Rotator) reportRequest(ctx context.Context, req ledger.RotationRequest) error {
	doc, err := r.Keysets.Fetch(ctx)
	if err != nil && !errors.Is(err, keyset.ErrEmpty) {
		return err
	}
	report := ledger.Report{
		SecretARN: req.SecretARN, Generation: doc.Keyset.Generation, Phase: phaseRequested, VersionID: req.VersionID, Passed: true,
		Message: "a rotation is started", Reasons: map[string]int{}, Asked: asked(req), At: req.At,
	}
	if req.Refused != "" {
		report.Phase, report.VersionID, report.Passed, report.Message = phaseRefused, "", false, "no rotation is started: "+req.Refused
	}
	return r.Ledger.PutReport(ctx, report)
}

func asked(req ledger.RotationRequest) string { return req.Actor + ": " + req.Reason }

// askedFor says who asked for the rotation that a report is about, and why. Most rotations are asked for by
// Secrets Manager's own schedule.
func (r *Rotator) askedFor(ctx context.Context, req request) string {
	last, found, err := r.Ledger.LastRequest(ctx, req.secretARN)
	if err != nil || !found || last.VersionID != req.token {
		return ""
	}
	return asked(last)
}

// oneLine makes text from an event fit for a line of a log or a report.
func oneLine(s string) string {
	const longest = 512
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool { return r <= ' ' || r >= 0x7f && r < 0xa0 }), " ")
	for len(s) > longest {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
