package rotation

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

// strays are the instances that have acknowledged and may have lost what makes them a worker: a tag removed by
// mistake must not take a machine out of the count unnoticed. Whether they still run is asked whenever the fleet is
// listed; a terminated one does not count.
type strays struct {
	known bool // the ledger has been looked through, for this rotation
	arns  []string
	count int // workers when it was
}

// maxStrays is how many a report keeps, of some 80 bytes each, in an item of 400 KB at most.
const maxStrays = 2000

// recall takes from the report of testSecret what that step has found, since to look through the ledger is dear: once
// for a rotation is enough, unless there are fewer workers now.
func (t *strays) recall(reports []ledger.Report, token string, generation int64) {
	for _, report := range reports {
		if report.Phase != "testSecret" || report.VersionID != token || report.Generation != generation || !report.Passed {
			continue
		}
		if len(report.Untagged) < maxStrays {
			t.known, t.arns, t.count = true, report.Untagged, report.Expected+len(report.Waived)
		}
		return
	}
}

// addStrays appends to the workers that sources list those that run without being listed any more: found in the
// ledger, or in the list that was made before.
func (g *gate) addStrays(ctx context.Context, workers []fleet.Worker) ([]fleet.Worker, error) {
	listed := make(map[string]bool, len(workers))
	for _, w := range workers {
		listed[w.ARN] = true
	}
	if err := g.findStrays(ctx, listed); err != nil {
		return nil, err
	}
	candidates := make(map[string]bool)
	for _, arn := range g.strays.arns {
		candidates[arn] = !listed[arn]
	}
	for _, w := range g.workers {
		if _, acknowledged := g.findings[w.ARN]; acknowledged && !listed[w.ARN] {
			candidates[w.ARN] = true
		}
	}
	var arns []string
	for arn, missing := range candidates {
		if missing {
			arns = append(arns, arn)
		}
	}
	if len(arns) == 0 {
		return workers, nil
	}
	running, err := g.r.Fleet.Running(ctx, arns)
	if err != nil {
		return nil, err
	}
	g.strays.arns = fleet.ARNs(running)
	for _, w := range running {
		w.Untagged = true
		workers = append(workers, w)
		g.r.Log.Warn("running instance acknowledges and is no worker by tag or group any more, counted nevertheless",
			logging.SecretID(g.s.secret.arn), logging.Worker(w.ARN), zap.String("name", w.Name))
	}
	return workers, nil
}

func (g *gate) findStrays(ctx context.Context, listed map[string]bool) error {
	if g.strays.known && len(listed)+len(g.strays.arns) >= g.strays.count {
		return nil
	}
	now, err := g.r.now()
	if err != nil {
		return err
	}
	var arns []string
	err = g.r.Ledger.EachWorker(ctx, g.s.secret.arn, now, func(worker string) {
		if !listed[worker] {
			arns = append(arns, worker)
		}
	})
	if err != nil {
		return err
	}
	g.strays = strays{known: true, arns: arns}
	return nil
}

// knownStrays are those that the last rotation counted without their being listed, as far as they still run and are
// not among the workers.
func (r *Rotator) knownStrays(ctx context.Context, secretARN string, workers []fleet.Worker) ([]fleet.Worker, error) {
	const newest = 20
	reports, err := r.Ledger.Reports(ctx, secretARN, newest)
	if err != nil {
		return nil, err
	}
	var last ledger.Report
	for _, report := range reports {
		if asksFleet(report) && report.Expected > 0 && report.At.After(last.At) {
			last = report
		}
	}
	if len(last.Untagged) == 0 {
		return nil, nil
	}
	listed := make(map[string]bool, len(workers))
	for _, w := range workers {
		listed[w.ARN] = true
	}
	running, err := r.Fleet.Running(ctx, slices.DeleteFunc(last.Untagged, func(arn string) bool { return listed[arn] }))
	for i := range running {
		running[i].Untagged = true
	}
	return running, err
}
