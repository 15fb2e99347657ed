package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/rotator/internal/operator"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
	"github.com/rotatessh/rotatessh/rotator/internal/report"
)

type rotateFlags struct {
	inventoryFlags
	user, reason string
	wait, json   bool
	timeout      time.Duration
}

func newRotate(g *globals) *cobra.Command {
	var f rotateFlags
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Start a rotation, and follow it with --wait",
		Long: `Rotate asks AWS Secrets Manager to rotate the key pair now. With --wait it follows the
rotation until AWSCURRENT is the new key pair: who is ready, which step, how long.
A failed step is shown and does not end the wait, because AWS tries again. Workers are
those that "rotatessh status" lists.

With --reason it asks the rotator to start the rotation, which puts the reason into its log
and into the rotation's reports. The rotator starts one rotation in ten minutes by request,
be it an operator's or an event's, and refuses others with the reason of the first.

Interrupting it, or its timeout, ends the watching and not the rotation.`,
		Example: `  rotatessh rotate
  rotatessh rotate --wait --timeout 1h
  rotatessh rotate --wait --reason "INC-1234: laptop stolen"`,
		Args: usageArgs(noArgs),
		RunE: func(c *cobra.Command, _ []string) error { return hintAWS(g.rotate(c, f)) },
	}
	c.Flags().BoolVar(&f.wait, "wait", false, "follow the rotation to its end")
	c.Flags().DurationVar(&f.timeout, "timeout", 30*time.Minute, "give up waiting after this `duration`")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object on standard output")
	f.register(c)
	c.Flags().StringVar(&f.reason, "reason", "", "`text` for the rotator's log and reports; lets the rotator start the rotation")
	c.Flags().StringVar(&f.user, "user", "", "`account` that workers must manage to be ready (default: any)")
	return c
}

// rotated is what rotate prints as JSON.
type rotated struct {
	SecretARN         string `json:"secretArn"`
	VersionID         string `json:"versionId"`
	PreviousVersionID string `json:"previousVersionId,omitempty"`
	Completed         bool   `json:"completed"`
	Fingerprint       string `json:"fingerprint,omitempty"`
	Generation        int64  `json:"generation,omitempty"`
	// Expected and Ready are the rotator's count once it is complete, and until then this program's own.
	Expected    int       `json:"expected"`
	Ready       int       `json:"ready"`
	OldKeyUntil time.Time `json:"oldKeyUntil,omitzero"`
	Failures    []failure `json:"failures"`
	Seconds     float64   `json:"seconds"`
}

// failure is a step that failed while it was watched.
type failure struct {
	Step    string    `json:"step"`
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

func (g *globals) rotate(c *cobra.Command, f rotateFlags) error {
	if f.timeout <= 0 {
		return usagef("--timeout is %v and must be positive", f.timeout)
	}
	if c.Flags().Changed("reason") && f.reason == "" {
		return usagef("--reason is empty")
	}
	ctx := c.Context()
	b, err := g.open(c, f.inventoryFlags)
	if err != nil {
		return err
	}
	start := time.Now()
	result, err := g.start(ctx, b, f)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.ErrOrStderr(), "rotation of %s started: version %s\n", result.SecretARN, result.VersionID)
	if f.wait {
		w := &watcher{b: b, user: f.user, result: &result, display: newDisplay(c.ErrOrStderr()), start: start}
		err = w.wait(ctx, f.timeout)
		result.Seconds = time.Since(start).Seconds()
	}
	if f.json {
		return errors.Join(err, printJSON(c.OutOrStdout(), result))
	}
	if result.Completed {
		fmt.Fprintln(c.OutOrStdout(), result.sentence(b.now()))
	}
	return err
}

func (r rotated) sentence(now time.Time) string {
	s := fmt.Sprintf("rotated to %s in %.1f s: %s ready", r.Fingerprint, r.Seconds, plural.Share(r.Ready, r.Expected, "worker"))
	if now.Before(r.OldKeyUntil) {
		s += ", the old key is accepted for another " + short(r.OldKeyUntil.Sub(now))
	}
	return s
}

// start starts a rotation, or lets the rotator do so if there is a reason to tell it, and says from which
// version to which.
func (g *globals) start(ctx context.Context, b *backend, f rotateFlags) (rotated, error) {
	before, err := b.describe(ctx)
	if err != nil {
		return rotated{}, err
	}
	if before.pending() != "" {
		return rotated{}, b.explainIncomplete(ctx, before)
	}
	var version string
	if f.reason != "" {
		version, err = g.requestRotation(ctx, b, f, before.ARN)
	} else {
		version, err = b.startRotation(ctx, before.ARN)
	}
	return rotated{SecretARN: before.ARN, VersionID: version, PreviousVersionID: before.holder(labelCurrent), Failures: []failure{}}, err
}

func (b *backend) startRotation(ctx context.Context, secretARN string) (version string, err error) {
	out, err := b.secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: &secretARN})
	if err != nil {
		return "", b.explainRefusal(ctx, err)
	}
	return aws.ToString(out.VersionId), nil
}

// requestRotation asks the rotator. The version's id is made up here, so that the request can be told from
// every other one.
func (g *globals) requestRotation(ctx context.Context, b *backend, f rotateFlags, secretARN string) (version string, err error) {
	cfg, err := g.aws(ctx, nil, b.log)
	if err != nil {
		return "", err
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	req := operator.New(operator.Rotate, secretARN, actor(ctx, cfg))
	req.VersionID, req.Reason = hex.EncodeToString(id), f.reason
	if err := req.Validate(); err != nil {
		return "", usageError{err}
	}
	out, err := invoke(ctx, cfg, f.function, req)
	return out.VersionID, err
}

// explainRefusal turns the ways in which Secrets Manager says no into what the operator can do.
func (b *backend) explainRefusal(ctx context.Context, err error) error {
	wrapped := fmt.Errorf("starting the rotation of %q: %w", b.secret, err)
	var refused *types.InvalidRequestException
	if !errors.As(err, &refused) {
		return wrapped
	}
	switch text := refused.ErrorMessage(); {
	case strings.Contains(text, "previous rotation"):
		s, err := b.describe(ctx)
		if err != nil {
			return wrapped
		}
		return b.explainIncomplete(ctx, s)
	case strings.Contains(text, "Lambda"):
		return withHint(wrapped, "rotation has not been set up: aws secretsmanager rotate-secret --secret-id %s --rotation-lambda-arn … --rotation-rules …", b.secret)
	}
	return wrapped
}

// explainIncomplete says which rotation stands in the way, why, and what can be done.
func (b *backend) explainIncomplete(ctx context.Context, s secretInfo) error {
	reports, err := b.ledger.Reports(ctx, s.ARN, 20)
	if err != nil {
		reports = nil // the labels alone say enough to go on
	}
	if err := b.addAges(ctx, &s); err != nil {
		return err
	}
	r := report.RotationOf(s.Secret, reports)
	text := fmt.Sprintf("an earlier rotation of %q is not complete: version %s is pending since %s", s.Name, s.pending(), age(b.now(), r.Since))
	if r.Message != "" {
		text += "; its last failure: " + printable(r.Message)
	}
	return withHint(errors.New(text), "AWS retries it until it succeeds: remove the cause and watch \"rotatessh status\", or go on at once with "+
		"\"rotatessh resume\". To give it up instead: \"rotatessh abort\"")
}
