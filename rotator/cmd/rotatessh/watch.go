package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/report"
)

const (
	// pollEvery is how often a small fleet is looked at; perWorker slows that down for a large one, up to
	// pollSlowest, since each look reads every acknowledgement.
	pollEvery   = 500 * time.Millisecond
	perWorker   = 5 * time.Millisecond
	pollSlowest = 10 * time.Second
	// troubles is how many looks in a row may fail before watching is given up.
	troubles = 5
)

// errAbandoned says that the rotation that is being watched has gone.
var errAbandoned = errors.New("the rotation was given up: its version is neither pending nor current any more")

// watcher follows one rotation to its end.
type watcher struct {
	b       *backend
	user    string
	result  *rotated
	display *display
	start   time.Time
	seen    bool // AWSPENDING on the version
	gone    int  // looks in a row that found the version without a label
	reports []ledger.Report
	shown   map[string]time.Time // failures, by step
}

// wait returns nil when AWSCURRENT is the new version and AWSPENDING is gone.
func (w *watcher) wait(ctx context.Context, timeout time.Duration) error {
	defer w.display.end()
	w.shown = make(map[string]time.Time)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the rotation is not complete after %v", timeout))
	defer cancel()
	failed := 0
	for {
		done, err := w.look(ctx)
		switch {
		case done || errors.Is(err, errAbandoned):
			return err
		case ctx.Err() != nil:
			return w.unfinished(ctx)
		case err == nil:
			failed = 0
		default:
			if failed++; failed == troubles {
				return fmt.Errorf("watching the rotation: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return w.unfinished(ctx)
		case <-time.After(min(pollEvery+time.Duration(w.result.Expected)*perWorker, pollSlowest)):
		}
	}
}

func (w *watcher) unfinished(ctx context.Context) error {
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = errors.New("stopped watching")
	}
	return withHint(err, "the rotation goes on without this program: see \"rotatessh status\"")
}

// look reads the state once and shows it; true means that the rotation is complete.
func (w *watcher) look(ctx context.Context) (bool, error) {
	secret, err := w.b.describe(ctx)
	if err != nil {
		return false, err
	}
	if err := w.showFailures(ctx); err != nil {
		return false, err
	}
	f, err := w.b.facts(ctx, secret, w.user)
	if err != nil {
		return false, err
	}
	w.count(f)
	switched := secret.holder(labelCurrent) == w.result.VersionID
	if switched && secret.holder(labelPending) != w.result.VersionID {
		w.complete(f)
		return true, nil
	}
	w.display.show(w.step(f, switched), w.result.Ready, w.result.Expected, time.Since(w.start))
	return false, w.abandoned(secret, switched)
}

// count fills in what the keyset and the workers say about the new key, while it is pending: once it is
// current the keyset is another one, which workers have yet to acknowledge.
func (w *watcher) count(f report.Facts) {
	key, published := w.newKey(f)
	if published {
		w.result.Fingerprint, w.result.Generation = key.PublicKey.Fingerprint(), f.Document.Keyset.Generation
	}
	if published && key.State != keyset.Pending {
		return
	}
	summary := report.New(f).Summary
	w.result.Expected, w.result.Ready = summary.Expected, 0
	if published {
		w.result.Ready = summary.Ready
	}
}

func (w *watcher) newKey(f report.Facts) (keyset.Key, bool) {
	i := slices.IndexFunc(f.Document.Keyset.Keys, func(k keyset.Key) bool { return k.VersionID == w.result.VersionID && k.State != keyset.Retiring })
	if i < 0 {
		return keyset.Key{}, false
	}
	return f.Document.Keyset.Keys[i], true
}

// step names what the rotation is at, as far as it shows from outside.
func (w *watcher) step(f report.Facts, switched bool) string {
	_, published := w.newKey(f)
	switch {
	case switched:
		return "finishing"
	case !published:
		return "making the new key pair"
	case w.result.Ready < w.result.Expected:
		return "waiting for workers"
	}
	return "trying the new key"
}

// complete takes down how the rotation ended. A look may have missed the moment when all were ready; the
// rotator's report has it.
func (w *watcher) complete(f report.Facts) {
	w.result.Completed = true
	for _, r := range w.reports {
		if r.VersionID == w.result.VersionID && r.Passed && r.Expected > 0 {
			w.result.Expected, w.result.Ready = r.Expected, r.Ready
			break
		}
	}
	for _, k := range f.Document.Keyset.Keys {
		if k.State == keyset.Retiring && k.VersionID == w.result.PreviousVersionID {
			w.result.OldKeyUntil = k.NotAfter
		}
	}
}

// abandoned tells a version that lost its label for good from one whose label cannot be seen yet.
func (w *watcher) abandoned(secret secretInfo, switched bool) error {
	if switched || secret.holder(labelPending) == w.result.VersionID {
		w.seen, w.gone = true, 0
		return nil
	}
	if w.gone++; w.gone < 3 || !w.seen && time.Since(w.start) < time.Minute {
		return nil
	}
	return withHint(errAbandoned, "somebody cancelled it or wrote another version meanwhile: see \"rotatessh status\"")
}

// showFailures shows each failure of a step once.
func (w *watcher) showFailures(ctx context.Context) error {
	reports, err := w.b.ledger.Reports(ctx, w.result.SecretARN, 20)
	if err != nil {
		return err
	}
	slices.SortStableFunc(reports, func(a, b ledger.Report) int { return b.At.Compare(a.At) }) // the ledger gives them by generation and then by name
	w.reports = reports
	for _, r := range slices.Backward(reports) {
		if r.Passed || r.VersionID != w.result.VersionID || !r.At.After(w.shown[r.Phase]) {
			continue
		}
		w.shown[r.Phase] = r.At
		w.result.Failures = append(w.result.Failures, failure{Step: r.Phase, Message: r.Message, At: r.At})
		w.display.line(fmt.Sprintf("%s failed, AWS will retry: %s", r.Phase, printable(r.Message)))
	}
	return nil
}
