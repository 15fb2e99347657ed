package rotation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
	"github.com/rotatessh/rotatessh/rotator/internal/safeguard"
)

const (
	firstPoll = 250 * time.Millisecond
	lastPoll  = 5 * time.Second
	// inventoryAge is how old the list of workers may get while the gate waits, and listingShare how many times
	// as old as making it took. Listing a large fleet is dear, and machines come and go slowly compared with
	// acknowledgements.
	inventoryAge = 15 * time.Second
	listingShare = 10
	// patience is how long the gate waits when its context has no deadline; in Lambda it always has.
	patience = 5 * time.Minute
)

var (
	// errNotReady says that the gate is closed.
	errNotReady = errors.New("the fleet is not ready")
	// errChanged says that another operation has published meanwhile: what was asked is not the question
	// any more.
	errChanged = errors.New("the keyset was changed by another operation")
)

// gate waits until every worker that counts has acknowledged the keyset in s and accepts its pending key,
// or until shortly before the function's deadline. After errNotReady the Readiness says who is missing.
func (r *Rotator) gate(ctx context.Context, req request, s state) (fleet.Readiness, error) {
	g := &gate{r: r, s: s, terms: termsOf(req.asked), pushing: newPushing()}
	if err := g.recall(ctx, req.token); err != nil {
		return g.ready, err
	}
	deadline, err := g.terms.deadline(r, s, r.giveUp(ctx))
	if err != nil {
		return g.ready, err
	}
	for wait := firstPoll; ; wait = min(wait*3/2, lastPoll) {
		err = g.round(ctx)
		if err != nil && (wait == firstPoll || errors.Is(err, errChanged)) {
			return g.ready, err // later ones may pass, and have been retried by the SDK
		}
		closed := errors.Join(err, g.closed())
		if closed == nil {
			return g.ready, nil
		}
		if g.hopeless() || time.Until(deadline) < wait {
			if err == nil {
				closed = g.accepted(closed)
			}
			return g.ready, closed
		}
		r.Log.Debug("waiting for workers", logging.Step(req.step), zap.Int("ready", len(g.ready.Ready)), zap.Int("expected", g.ready.Expected))
		if err := sleep(ctx, wait); err != nil {
			return g.ready, errors.Join(closed, err)
		}
	}
}

// giveUp is when waiting must end so that there is time left to say what for.
func (r *Rotator) giveUp(ctx context.Context) time.Time {
	deadline, found := ctx.Deadline()
	if !found {
		return time.Now().Add(r.patience)
	}
	return deadline.Add(-min(r.Policy.GateMargin, time.Until(deadline)/4))
}

// gate is one wait: what has been learnt so far.
type gate struct {
	r         *Rotator
	s         state
	terms     terms
	workers   []fleet.Worker
	listAgain time.Time
	strays    strays
	findings  fleet.Findings // nil before anybody was asked
	ready     fleet.Readiness
	pushing   pushing
	told      *belief // what the log has said; nil: nothing yet
	before    int     // workers at the last switch
	least     int     // of them that must still be there
}

// recall finds out what was logged last about the same question, and how many workers there were at the last switch
// to another version. Those that were waived then were there, too.
func (g *gate) recall(ctx context.Context, token string) error {
	const newest = 100
	reports, err := g.r.Ledger.Reports(ctx, g.s.secret.arn, newest)
	if err != nil {
		return err
	}
	g.strays.recall(reports, token, g.s.doc.Keyset.Generation)
	g.remember(reports, token)
	for _, report := range reports {
		if report.Phase == "finishSecret" && report.Passed && report.Expected > 0 && report.VersionID != token {
			g.before = report.Expected + len(report.Waived)
			g.least = (g.before*(100-g.r.Policy.MaxShrink) + 99) / 100
			return nil
		}
	}
	return nil
}

// round asks those who were not ready in the round before. When they are, it asks everybody once more: a
// worker that was ready first may have failed while others were waited for.
func (g *gate) round(ctx context.Context) error {
	if err := g.list(ctx); err != nil {
		return err
	}
	everybody := g.findings == nil
	if err := g.ask(ctx, everybody); err != nil {
		return err
	}
	if err := g.push(ctx); err != nil {
		return err
	}
	if everybody || !g.ready.Reaches(g.r.Policy.Threshold) {
		return nil
	}
	return g.ask(ctx, true)
}

func (g *gate) list(ctx context.Context) error {
	if time.Now().Before(g.listAgain) || !safeguard.Relist && g.workers != nil {
		return nil
	}
	start := time.Now()
	workers, err := g.r.Fleet.Workers(ctx)
	if err != nil {
		return err
	}
	if workers, err = g.addStrays(ctx, workers); err != nil {
		return err
	}
	g.workers, g.listAgain = workers, time.Now().Add(max(inventoryAge, listingShare*time.Since(start)))
	return nil
}

func (g *gate) ask(ctx context.Context, everybody bool) error {
	if err := g.sameKeyset(ctx); err != nil {
		return err
	}
	now, err := g.r.now()
	if err != nil {
		return err
	}
	asked, findings := g.workers, make(fleet.Findings, len(g.workers))
	if !everybody {
		asked = g.ready.Missing(g.workers)
	}
	q := g.s.question(g.r.Policy, g.s.pending.PublicKey(), now)
	if err := g.r.ask(ctx, g.s.secret.arn, asked, q, findings); err != nil {
		return err
	}
	if q.Waived, err = g.r.waived(ctx, g.s.secret.arn, now); err != nil {
		return err
	}
	if !everybody {
		for _, w := range asked {
			delete(g.findings, w.ARN)
		}
		maps.Copy(g.findings, findings)
		findings = g.findings
	}
	g.findings, g.ready = findings, fleet.Judge(g.workers, findings, q)
	g.tellPushed()
	g.follow()
	return nil
}

// ask puts what the workers' acknowledgements say now into findings.
func (r *Rotator) ask(ctx context.Context, secretARN string, workers []fleet.Worker, q fleet.Question, findings fleet.Findings) error {
	return r.Ledger.EachAck(ctx, secretARN, fleet.ARNs(workers), q.Now, func(a ledger.Ack) { findings[a.Worker] = q.Find(a) })
}

func (s state) question(p Policy, key keyset.PublicKey, now time.Time) fleet.Question {
	return fleet.Question{Document: s.doc, Key: key, User: p.User, PublishedAt: s.beacon.PublishedAt, Grace: p.BootGrace, IgnoreSilent: p.IgnoreSilent, AllowUnverified: p.AllowUnverified, Now: now}
}

// sameKeyset makes sure that workers are asked about what is in force.
func (g *gate) sameKeyset(ctx context.Context) error {
	doc, err := g.r.Keysets.Fetch(ctx)
	if err != nil {
		return err
	}
	if doc.VersionID != g.s.doc.VersionID {
		return fmt.Errorf("%w: generation %d is in force instead of %d", errChanged, doc.Keyset.Generation, g.s.doc.Keyset.Generation)
	}
	return nil
}

// closed says why the gate is not open, or nil. A revocation has no use for a threshold: it counts each worker
// that would be lost.
func (g *gate) closed() error {
	switch {
	case !safeguard.Gate:
		return nil
	case g.terms.revoke && g.lost() > 0:
		return fmt.Errorf("%w: %s would lose access: %s", errNotReady, plural.Of(g.lost(), "worker"), g.ready.Summary())
	case !g.terms.revoke && !g.ready.Reaches(g.r.Policy.Threshold):
		return fmt.Errorf("%w: %s", errNotReady, g.ready.Summary())
	}
	return g.insane()
}

// insane says why what the inventory shows cannot be the fleet, or nil. An empty fleet is no ready one, except
// before the first key is in use: then there is nobody who could be locked out.
func (g *gate) insane() error {
	switch here := g.ready.Expected + len(g.ready.Waived); {
	case g.ready.Expected == 0 && !g.s.current.IsZero():
		return fmt.Errorf("%w: no running instance counts as a worker, %d %s booting, and somebody may be using the current key", errNotReady, len(g.ready.Exempt), plural.Verb(len(g.ready.Exempt), "is", "are"))
	case len(g.ready.Ready) < g.r.Policy.MinWorkers && !g.s.current.IsZero():
		return fmt.Errorf("%w: at least %d must be: %s", errNotReady, g.r.Policy.MinWorkers, g.ready.Summary())
	case here < g.least:
		return fmt.Errorf("%w: only %s %s there, %d at the last switch, and ROTATESSH_MAX_SHRINK allows %d%% fewer: have they lost their tag? %s",
			errNotReady, plural.Of(here, "worker"), plural.Verb(here, "is", "are"), g.before, g.r.Policy.MaxShrink, g.ready.Summary())
	}
	return nil
}

// hopeless reports whether there is nobody to wait for.
func (g *gate) hopeless() bool { return len(g.workers) == 0 }

// untilUnchanged repeats a wait that another publication has made void.
func (r *Rotator) untilUnchanged(ctx context.Context, req request) (s state, ready fleet.Readiness, err error) {
	const tries = 5
	for range tries {
		if s, err = r.reconcileFor(ctx, req); err != nil {
			return s, ready, err
		}
		if ready, err = r.gate(ctx, req, s); !errors.Is(err, errChanged) {
			return s, ready, err
		}
	}
	return s, ready, err
}
