package rotation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/push"
	"github.com/rotatessh/rotatessh/rotator/internal/safeguard"
)

// Pusher brings the files of workers without an agent up to date. It gives a result for each instance.
type Pusher interface {
	Push(ctx context.Context, instances []string, d push.Document) map[string]push.Result
}

// The codes under which reports name workers that have been pushed to.
const (
	codePushed     = "pushed"
	codeNudged     = "nudged"
	codePushFailed = "push-failed"
)

const (
	// pushAgain is the wait before a worker on which a push has failed is tried again.
	pushAgain = 30 * time.Second
	// pushRenewal is the age at which a pushed worker is looked at again, so that its record does not expire.
	pushRenewal = 24 * time.Hour
)

// pushing is what a gate knows of its pushes, by worker ARN.
type pushing struct {
	tried  map[string]time.Time // when last
	failed map[string]string    // why the last one did not do
	nudged map[string]bool      // agents that were woken
}

func newPushing() pushing {
	return pushing{tried: map[string]time.Time{}, failed: map[string]string{}, nudged: map[string]bool{}}
}

// served is what became of a push, by worker ARN.
type served struct {
	mu     sync.Mutex
	nudged map[string]bool
	failed map[string]string // why
}

// serve pushes the keyset in force to workers and logs in to each of them. What it finds proved it records in
// the place of the acknowledgement that nobody else makes for them.
func (r *Rotator) serve(ctx context.Context, s state, workers []fleet.Worker) (*served, error) {
	now, err := r.now()
	if err != nil {
		return nil, err
	}
	d := push.New(s.doc, r.Policy.User, now)
	ids := make([]string, len(workers))
	for i, w := range workers {
		ids[i] = w.ID
	}
	r.Log.Info("pushing to workers without an agent", zap.Int("workers", len(ids)), logging.Generation(s.doc.Keyset.Generation))
	results := r.Pusher.Push(ctx, ids, d)
	out := &served{nudged: map[string]bool{}, failed: map[string]string{}}
	var g errgroup.Group
	g.SetLimit(r.probes())
	for _, w := range workers {
		g.Go(func() error {
			err := r.serveOne(ctx, s, w, results[w.ID], now)
			out.mu.Lock()
			defer out.mu.Unlock()
			switch result := results[w.ID]; {
			case result.Outcome == push.Nudged:
				out.nudged[w.ARN] = true
			case err != nil:
				out.failed[w.ARN] = err.Error()
			}
			r.Log.Info("pushed", logging.Worker(w.ID), zap.String("outcome", string(results[w.ID].Outcome)), logging.Code(results[w.ID].Code), zap.Error(err))
			return nil
		})
	}
	return out, g.Wait()
}

func (r *Rotator) serveOne(ctx context.Context, s state, w fleet.Worker, result push.Result, now time.Time) error {
	switch result.Outcome {
	case push.Applied, push.Unchanged:
	case push.Nudged:
		return nil
	default:
		return fmt.Errorf("%.64s: %s", result.Code, result.Message)
	}
	a := ledger.Ack{
		Worker: w.ARN, SecretARN: s.secret.arn, KeysetARN: s.doc.ARN, KeysetVersionID: s.doc.VersionID, Generation: s.doc.Keyset.Generation,
		Pass: 1, Outcome: ledger.Applied, HostKeys: result.HostKeys, Port: result.Port, AppliedAt: now,
	}
	u := ledger.User{Name: r.Policy.User, File: result.File, Fingerprints: result.Held}
	if err := r.proveAccepted(ctx, s, w, a, &u, now); err != nil {
		return err
	}
	if err := r.proveRefused(ctx, s, w, a, &u, now); err != nil {
		return err
	}
	a.Users = []ledger.User{u}
	err := r.Ledger.PutPushed(ctx, a, now)
	if errors.Is(err, ledger.ErrStale) {
		return nil // its agent has come to life, and speaks for itself
	}
	return err
}

// proveAccepted logs in with each key whose private half is at hand; a key that does not open the worker is an
// error.
func (r *Rotator) proveAccepted(ctx context.Context, s state, w fleet.Worker, a ledger.Ack, u *ledger.User, now time.Time) error {
	for _, k := range s.doc.Keyset.Effective(now).Keys {
		status := ledger.KeyStatus{Fingerprint: k.PublicKey.Fingerprint(), State: string(k.State), Accepted: ledger.Unverified, Why: "pushed, and not tried"}
		for _, pair := range []keypair.Pair{s.current, s.pending} {
			if pair.IsZero() || pair.PublicKey() != k.PublicKey {
				continue
			}
			if err := r.Prober.Probe(ctx, w, a, pair.Signer()); err != nil {
				return fmt.Errorf("logging in with the %s key %s: %w", k.State, status.Fingerprint, err)
			}
			status.Accepted, status.Why = ledger.Yes, "pushed, and proved by logging in"
		}
		u.Keys = append(u.Keys, status)
	}
	return nil
}

// proveRefused offers the retired keys that are known whole. It comes after a log-in that worked, so that a
// refusal is one of the key.
func (r *Rotator) proveRefused(ctx context.Context, s state, w fleet.Worker, a ledger.Ack, u *ledger.User, now time.Time) error {
	for _, k := range s.doc.Keyset.Effective(now).Retired {
		if k.PublicKey.IsZero() {
			continue
		}
		refused, err := r.Prober.Refuses(ctx, w, a, k.PublicKey)
		if err != nil {
			return fmt.Errorf("offering the retired key %s: %w", k.Fingerprint, err)
		}
		status := ledger.KeyStatus{Fingerprint: k.Fingerprint, State: "retired", Accepted: ledger.No, Why: "pushed, and refused at a log-in"}
		if !refused {
			status.Accepted, status.Why = ledger.Yes, "sshd accepts it from elsewhere than the pushed file"
		}
		u.Keys = append(u.Keys, status)
	}
	return nil
}

// push serves, while the gate waits, the workers that have no agent to follow the keyset: those that have never
// acknowledged although there was time to, and those that have been pushed to before.
func (g *gate) push(ctx context.Context) error {
	now, err := g.r.now()
	if err != nil || g.r.Pusher == nil || now.Sub(g.s.beacon.PublishedAt) < g.r.Policy.PushAfter {
		return err
	}
	var due []fleet.Worker
	lagging := make(map[string]bool, len(g.ready.Laggards))
	for _, l := range g.ready.Laggards {
		lagging[l.Worker] = l.Code == fleet.CodeSilent || g.findings[l.Worker].Pushed
	}
	for _, w := range g.workers {
		if lagging[w.ARN] && time.Since(g.pushing.tried[w.ARN]) > pushAgain {
			due = append(due, w)
			g.pushing.tried[w.ARN] = time.Now()
		}
	}
	if len(due) == 0 {
		return nil
	}
	out, err := g.r.serve(ctx, g.s, due)
	if err != nil {
		return err
	}
	for _, w := range due {
		delete(g.pushing.failed, w.ARN)
		if why, failed := out.failed[w.ARN]; failed {
			g.pushing.failed[w.ARN] = why
		}
		if out.nudged[w.ARN] {
			g.pushing.nudged[w.ARN] = true
		}
	}
	return g.ask(ctx, false)
}

// tellPushed puts what pushing came to into the readiness.
func (g *gate) tellPushed() {
	for i, l := range g.ready.Laggards {
		why, failed := g.pushing.failed[l.Worker]
		if !failed {
			continue
		}
		if g.ready.Reasons[l.Code]--; g.ready.Reasons[l.Code] == 0 {
			delete(g.ready.Reasons, l.Code)
		}
		g.ready.Reasons[codePushFailed]++
		g.ready.Laggards[i].Code, g.ready.Laggards[i].Message = codePushFailed, why
	}
	g.ready.Pushed = nil
	for _, w := range g.ready.Ready {
		switch {
		case g.findings[w.ARN].Pushed:
			g.ready.Pushed = append(g.ready.Pushed, ledger.Laggard{Worker: w.ARN, Code: codePushed, Message: "has no agent; its file was written by Systems Manager, and a log-in proved the key"})
		case g.pushing.nudged[w.ARN]:
			g.ready.Pushed = append(g.ready.Pushed, ledger.Laggard{Worker: w.ARN, Code: codeNudged, Message: "its agent was silent and has been woken by Systems Manager"})
		}
	}
}

// tend serves workers without an agent between rotations: new ones, those that have a retired key to drop, and
// all others once a day. While a key is pending the gate does it.
func (r *Rotator) tend(ctx context.Context, s state) error {
	now, err := r.now()
	if err != nil || r.Pusher == nil || len(s.doc.Keyset.Keys) == 0 || !s.pending.IsZero() || now.Sub(s.beacon.PublishedAt) < r.Policy.PushAfter {
		return err
	}
	if !safeguard.Removal && len(s.doc.Keyset.Effective(now).Retired) > 0 {
		return nil
	}
	workers, err := r.Fleet.Workers(ctx)
	if err != nil {
		return err
	}
	fine := make(map[string]bool, len(workers))
	err = r.Ledger.EachAck(ctx, s.secret.arn, fleet.ARNs(workers), now, func(a ledger.Ack) {
		fine[a.Worker] = !a.Pushed || upToDate(a, s.doc.VersionID, s.doc.Keyset.Effective(now)) && now.Sub(a.ReportedAt) < pushRenewal
	})
	if err != nil {
		return err
	}
	var due []fleet.Worker
	for _, w := range workers {
		if !fine[w.ARN] && now.Sub(w.Launched) > r.Policy.PushAfter {
			due = append(due, w)
		}
	}
	if len(due) == 0 {
		return nil
	}
	out, err := r.serve(ctx, s, due)
	if err != nil {
		return err
	}
	if len(out.failed) > 0 {
		r.Log.Warn("some workers without an agent could not be served", zap.Int("workers", len(out.failed)))
	}
	return nil
}

// upToDate reports whether a pushed worker's record speaks of the keyset in force, and of every key that is
// retired by now.
func upToDate(a ledger.Ack, versionID string, effective keyset.Keyset) bool {
	if a.KeysetVersionID != versionID {
		return false
	}
	for _, k := range effective.Retired {
		if !k.PublicKey.IsZero() && fleet.RetiredAt(a, k.Fingerprint) == ledger.Unverified {
			return false
		}
	}
	return true
}
