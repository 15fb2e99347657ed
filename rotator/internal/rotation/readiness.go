package rotation

import (
	"context"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
)

// readinessDetailType is that of the events that tell how each phase ended.
const readinessDetailType = "SSH Fleet Readiness"

// readinessEvent is a report without the workers' names: those of a large fleet do not fit into an event.
type readinessEvent struct {
	SecretARN      string         `json:"secretArn"`
	Generation     int64          `json:"generation"`
	Phase          string         `json:"phase"`
	VersionID      string         `json:"versionId"`
	Passed         bool           `json:"passed"`
	Message        string         `json:"message"`
	Asked          string         `json:"asked,omitempty"`
	Expected       int            `json:"expected"`
	Ready          int            `json:"ready"`
	Failed         int            `json:"failed"`
	Probed         int            `json:"probed"`
	Waived         int            `json:"waived"`
	Pushed         int            `json:"pushed"`
	Reasons        map[string]int `json:"reasons"`
	TimeToReadyP50 float64        `json:"timeToReadyP50,omitempty"` // seconds
	TimeToReadyP99 float64        `json:"timeToReadyP99,omitempty"`
}

// tell sends out what a report says: an event for whoever wants to act on it, and metrics. Neither must hold up
// a rotation.
func (r *Rotator) tell(ctx context.Context, s state, report ledger.Report) {
	metrics := metricsOf(report)
	r.measure(s, report.Phase, metrics)
	const longest = 2000
	e := readinessEvent{
		SecretARN: report.SecretARN, Generation: report.Generation, Phase: report.Phase, VersionID: report.VersionID, Passed: report.Passed,
		Message: report.Message[:min(len(report.Message), longest)], Asked: report.Asked, Expected: report.Expected, Ready: report.Ready,
		Failed: report.Expected - report.Ready, Probed: report.Probed, Waived: len(report.Waived), Pushed: len(report.Pushed), Reasons: report.Reasons,
	}
	for _, m := range metrics {
		switch m.name {
		case "TimeToReadyP50":
			e.TimeToReadyP50 = m.value
		case "TimeToReadyP99":
			e.TimeToReadyP99 = m.value
		}
	}
	if err := r.put(ctx, readinessDetailType, e, report.SecretARN); err != nil {
		r.Log.Warn("event about the fleet's readiness was not sent", logging.Step(report.Phase), zap.Error(err))
	}
}
