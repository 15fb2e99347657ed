package rotation

import (
	"encoding/json"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/ledger"
)

// metricNamespace is where CloudWatch keeps the metrics, by the one dimension metricDimension.
const (
	metricNamespace = "RotateSSH"
	metricDimension = "SecretArn"
)

// metric is a number with CloudWatch's unit for it.
type metric struct {
	name, unit string
	value      float64
}

type metricName struct {
	Name string `json:"Name"`
	Unit string `json:"Unit"`
}

type metricDirective struct {
	Namespace  string       `json:"Namespace"`
	Dimensions [][]string   `json:"Dimensions"`
	Metrics    []metricName `json:"Metrics"`
}

// embedded is a line of the log of which CloudWatch makes metrics: its embedded metric format,
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
func embedded(secretARN, phase string, at time.Time, metrics []metric) ([]byte, error) {
	directive := metricDirective{Namespace: metricNamespace, Dimensions: [][]string{{metricDimension}}}
	line := map[string]any{metricDimension: secretARN, "Phase": phase}
	for _, m := range metrics {
		directive.Metrics = append(directive.Metrics, metricName{m.name, m.unit})
		line[m.name] = m.value
	}
	line["_aws"] = map[string]any{"Timestamp": at.UnixMilli(), "CloudWatchMetrics": []metricDirective{directive}}
	text, err := json.Marshal(line)
	return append(text, '\n'), err
}

// measure writes the metrics of a phase, or of a schedule that found nothing to report.
func (r *Rotator) measure(s state, phase string, metrics []metric) {
	now, err := r.now()
	if err != nil || r.Metrics == nil {
		return
	}
	if !s.currentMade.IsZero() {
		metrics = append(metrics, metric{"KeyAge", "Seconds", max(0, now.Sub(s.currentMade).Seconds())})
	}
	if len(metrics) == 0 {
		return
	}
	line, err := embedded(s.secret.arn, phase, now, metrics)
	if err == nil {
		_, err = r.Metrics.Write(line)
	}
	if err != nil {
		r.Log.Warn("metrics were not written", zap.Error(err))
	}
}

// metricsOf are the numbers that a report tells. A report that asked nobody tells none.
func metricsOf(report ledger.Report) []metric {
	if report.Expected == 0 {
		return nil
	}
	metrics := []metric{{"FleetSize", "Count", float64(report.Expected + len(report.Waived))}}
	if report.Phase == phaseSteady {
		return append(metrics, metric{"OldKeyAccepted", "Count", float64(report.Reasons[codeStillAccepted])},
			metric{"OldKeyUnknown", "Count", float64(report.Reasons[codeUnknown])})
	}
	metrics = append(metrics, metric{"Ready", "Count", float64(report.Ready)}, metric{"Failed", "Count", float64(report.Expected - report.Ready)})
	for _, p := range []struct {
		name    string
		percent int
	}{{"TimeToReadyP50", 50}, {"TimeToReadyP99", 99}} {
		if report.Spread == nil {
			continue
		}
		if took, reached := report.Spread.Percentile(p.percent); reached {
			metrics = append(metrics, metric{p.name, "Seconds", took.Seconds()})
		}
	}
	return metrics
}
