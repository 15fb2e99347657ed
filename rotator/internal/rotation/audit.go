package rotation

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

// Who acts where it is not an operator.
const (
	actorRotation = "Secrets Manager's rotation"
	actorLabel    = "event of a moved label"
	actorSchedule = "schedule"
)

// as is r with log lines that say for whom it acts and why. Each change of a label, the keyset, a waiver or
// what is known about workers is one line of its own, written when the change is known to be in force; a run
// that dies right then leaves it to CloudTrail, and to the line of the run that finds it done.
func (r *Rotator) as(actor, reason string) *Rotator {
	c := *r
	c.Log = r.Log.With(zap.String("actor", actor), logging.Reason(reason))
	return &c
}

// labelChange is one change of a label of the key-pair secret.
type labelChange struct {
	secretARN, label string
	to, from         string // versions; "" where the label was or is nowhere
	fingerprint      string // of the key that the label has come to, or has left for nowhere
	generation       int64  // of the keyset in force at the time
	revokes          []string
}

func (r *Rotator) changed(what string, c labelChange) {
	version := c.to
	if version == "" {
		version = c.from
	}
	fields := []zap.Field{
		logging.SecretID(c.secretARN), zap.String("label", c.label), logging.VersionID(version), zap.String("from", c.from),
		zap.String("to", c.to), logging.Fingerprint(c.fingerprint), logging.Generation(c.generation),
	}
	if len(c.revokes) > 0 {
		fields = append(fields, zap.Strings("revokes", c.revokes))
	}
	r.Log.Info(what, fields...)
}

// named is what the keyset in force calls a version's key, for the log: it must not stop what is being done.
func (r *Rotator) named(ctx context.Context, versionID string) (fingerprint string, generation int64) {
	doc, err := r.Keysets.Fetch(ctx)
	if err != nil {
		return "", 0
	}
	for _, k := range doc.Keyset.Keys {
		if k.VersionID == versionID {
			fingerprint = k.PublicKey.Fingerprint()
		}
	}
	return fingerprint, doc.Keyset.Generation
}

// newlyRetired are the fingerprints that next retires and last did not.
func newlyRetired(last, next keyset.Keyset) []string {
	known := make(map[string]bool, len(last.Retired))
	for _, r := range last.Retired {
		known[r.Fingerprint] = true
	}
	fresh := []string{}
	for _, r := range next.Retired {
		if !known[r.Fingerprint] {
			fresh = append(fresh, r.Fingerprint)
		}
	}
	return fresh
}

// logged is how many workers one line names: CloudWatch takes 256 KB a line.
const logged = 500

// workersAre logs a change of what is known about workers.
func (r *Rotator) workersAre(what string, names []string, more ...zap.Field) {
	for some := range slices.Chunk(names, logged) {
		r.Log.Info(what, append([]zap.Field{zap.Int("count", len(names)), zap.Strings("workers", some)}, more...)...)
	}
}

// follow logs what has become of workers since the gate's last round or, in its first one, since the last report of
// the same question. Until there is one, nobody has answered it.
func (g *gate) follow() {
	now := g.standing()
	if g.told == nil {
		g.told = &belief{unanswered: []string{fleet.CodeBehind, fleet.CodeSilent, codeBooting}}
	}
	say := words{well: "ready", became: "workers have become ready", ill: "workers are not ready"}
	g.r.tellChanges(*g.told, g.workers, now, say,
		logging.SecretID(g.s.secret.arn), logging.VersionID(g.s.facts.pending.versionID),
		logging.Fingerprint(g.s.pending.Fingerprint()), logging.Generation(g.s.doc.Keyset.Generation))
	g.told = &belief{named: now}
}

func (g *gate) standing() standing {
	now := make(standing, len(g.workers))
	for _, w := range g.ready.Ready {
		now[w.ARN] = ""
	}
	for _, w := range g.ready.Exempt {
		now[w.ARN] = codeBooting
	}
	for _, l := range slices.Concat(g.ready.Laggards, g.ready.Waived) {
		now[l.Worker] = l.Code
		own, acknowledged := g.findings[l.Worker]
		forPushing := (!acknowledged || own.Pushed) && g.pushing.tried[l.Worker].IsZero()
		if forPushing && g.told != nil && g.told.named[l.Worker] == codePushFailed {
			now[l.Worker] = codePushFailed // this run has not come to it yet
		}
	}
	return now
}

// remember takes from the newest report of a run that has asked the same question what was logged then. A run that
// died before it could report is not remembered, and what it has logged is logged again.
func (g *gate) remember(reports []ledger.Report, token string) {
	var last ledger.Report
	for _, report := range reports {
		if asksFleet(report) && report.VersionID == token && report.Generation == g.s.doc.Keyset.Generation && report.At.After(last.At) {
			if b, found := recalled(report); found {
				last, g.told = report, &b
			}
		}
	}
}

// tellRetirement logs which workers have come to refuse the old key, and which others have not, since the last report
// of the same retirement.
func (r *Rotator) tellRetirement(s state, old keyset.Key, last ledger.Report, is fleet.Retirement) {
	now := standing{}
	for code, of := range map[string][]fleet.Worker{"": is.Refused, codeStillAccepted: is.Accepting, codeUnknown: is.Unknown} {
		for _, w := range of {
			now[w.ARN] = code
		}
	}
	said, found := recalled(last)
	if !found {
		said = belief{unanswered: []string{codeUnknown}}
	}
	say := words{well: "refused", became: "workers refuse the old key", ill: "workers do not refuse the old key"}
	r.tellChanges(said, slices.Concat(is.Refused, is.Accepting, is.Unknown), now, say,
		logging.SecretID(s.secret.arn), logging.VersionID(old.VersionID), logging.Fingerprint(old.PublicKey.Fingerprint()),
		logging.Generation(s.doc.Keyset.Generation), zap.Int("refused", len(is.Refused)), zap.Int("expected", len(now)))
}

// nameGivenUp logs every worker that is not ready for the switch that comes now.
func (r *Rotator) nameGivenUp(req request, s state, ready fleet.Readiness) {
	var names []string
	for _, l := range slices.Concat(ready.Laggards, ready.Waived) {
		names = append(names, ledger.InstanceID(l.Worker)+" "+l.Code)
	}
	r.workersAre("switching without workers, which are given up", names, logging.SecretID(req.secretARN), logging.VersionID(req.token),
		logging.Fingerprint(s.pending.Fingerprint()), logging.Generation(s.doc.Keyset.Generation))
}
