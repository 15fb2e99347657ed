package rotation_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/rotator/internal/rotation"
)

// measured lets the rotator write its metrics into a buffer.
func (r *rig) measured() *bytes.Buffer {
	out := &bytes.Buffer{}
	r.parts.Metrics = out
	r.rotator = rotation.New(r.parts)
	r.rotator.TestOnlyLeaseTime(time.Second)
	r.rotator.TestOnlyPatience(300 * time.Millisecond)
	return out
}

// metricsIn reads lines of the embedded metric format by the rules of its specification, and gives the metrics
// by phase; of a phase that came twice the last ones.
func metricsIn(t *testing.T, secretARN string, lines string) map[string]map[string]float64 {
	t.Helper()
	units := regexp.MustCompile(`^(Seconds|Count)$`) // those of CloudWatch's that are used
	all := map[string]map[string]float64{}
	for line := range strings.Lines(lines) {
		var root map[string]json.RawMessage
		var meta struct {
			Timestamp         int64
			CloudWatchMetrics []struct {
				Namespace  string
				Dimensions [][]string
				Metrics    []struct{ Name, Unit string }
			}
		}
		d := json.NewDecoder(strings.NewReader(line))
		if err := d.Decode(&root); err != nil || len(line) > 256<<10 || line[0] != '{' || !strings.HasSuffix(line, "}\n") {
			t.Fatalf("%q is not one JSON object in a line: %v", line, err)
		}
		strict := json.NewDecoder(bytes.NewReader(root["_aws"]))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&meta); err != nil {
			t.Fatalf("metadata of %s: %v", line, err)
		}
		if age := time.Since(time.UnixMilli(meta.Timestamp)); age < -time.Second || age > time.Minute {
			t.Errorf("time stamp is %v old", age)
		}
		var phase string
		if err := json.Unmarshal(root["Phase"], &phase); err != nil {
			t.Fatal(err)
		}
		all[phase] = map[string]float64{}
		for _, directive := range meta.CloudWatchMetrics {
			if directive.Namespace != "RotateSSH" || len(directive.Metrics) < 1 || len(directive.Metrics) > 100 {
				t.Errorf("directive is %+v", directive)
			}
			for _, name := range slices.Concat(directive.Dimensions...) {
				var value string
				if err := json.Unmarshal(root[name], &value); err != nil || value != secretARN {
					t.Errorf("dimension %s is %s", name, root[name])
				}
			}
			for _, m := range directive.Metrics {
				var value float64
				if err := json.Unmarshal(root[m.Name], &value); err != nil || !units.MatchString(m.Unit) {
					t.Errorf("metric %+v is %s", m, root[m.Name])
				}
				all[phase][m.Name] = value
			}
			if diff := cmp.Diff([][]string{{"SecretArn"}}, directive.Dimensions); diff != "" {
				t.Errorf("dimensions %s", diff)
			}
		}
	}
	return all
}

type readiness struct {
	DetailType string `json:"detail-type"`
	Source     string
	Detail     struct {
		SecretARN                               string `json:"secretArn"`
		Phase, VersionID, Message               string
		Generation                              int64
		Passed                                  bool
		Expected, Ready, Failed, Probed, Waived int
		Reasons                                 map[string]int
	}
}

// readinessEvents are those that were sent, by phase; of a phase that came twice the last.
func (r *rig) readinessEvents() map[string]readiness {
	events := map[string]readiness{}
	for _, raw := range r.aws.Snapshot().Events {
		var e readiness
		if err := json.Unmarshal(raw, &e); err == nil && e.DetailType == "SSH Fleet Readiness" {
			events[e.Detail.Phase] = e
		}
	}
	return events
}

func TestEachPhaseSendsAnEventAndMetrics(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, rotating, func(r *rig) { r.policy.RetireAfter = time.Millisecond })
	out := r.measured()
	r.followPublications()
	token := r.rotate()
	metrics := metricsIn(t, r.arn, out.String())
	for _, phase := range []string{"testSecret", "finishSecret"} {
		m := metrics[phase]
		if m["FleetSize"] != 3 || m["Ready"] != 3 || m["Failed"] != 0 {
			t.Errorf("%s: metrics are %v", phase, m)
		}
	}
	if m := metrics["testSecret"]; m["TimeToReadyP99"] < m["TimeToReadyP50"] {
		t.Errorf("testSecret: metrics are %v", m)
	}
	if _, found := metrics["testSecret"]["TimeToReadyP50"]; !found {
		t.Error("the time that workers took is missing")
	}
	events := r.readinessEvents()
	for _, phase := range []string{"setSecret", "testSecret", "finishSecret"} {
		e := events[phase]
		if e.Source != "rotatessh" || !e.Detail.Passed || e.Detail.SecretARN != r.arn || e.Detail.VersionID != token || e.Detail.Generation == 0 {
			t.Errorf("%s: event is %+v", phase, e)
		}
	}
	if d := events["testSecret"].Detail; d.Expected != 3 || d.Ready != 3 || d.Probed != 2 {
		t.Errorf("event is %+v", d)
	}

	retiring, _ := r.document().Keyset.Find(keyset.Retiring)
	time.Sleep(time.Until(retiring.NotAfter) + 1100*time.Millisecond)
	r.quietly(func() { r.pass(r.workers[0]) })
	for _, unknown := range []float64{2, 0} { // before and after all have proved it
		out.Reset()
		r.mustHandle(scheduleEvent())
		if m := metricsIn(t, r.arn, out.String())["steady"]; m["OldKeyUnknown"] != unknown || m["OldKeyAccepted"] != 0 || m["FleetSize"] != 3 || m["KeyAge"] < 1 || m["KeyAge"] > 60 {
			t.Errorf("steady: metrics are %v", m)
		}
		r.follow()
	}
	out.Reset()
	r.mustHandle(scheduleEvent())
	if m := metricsIn(t, r.arn, out.String())["schedule"]; m["KeyAge"] < 1 {
		t.Errorf("a schedule that found nothing new gives the metrics %v", m)
	}
}

func TestAClosedGateIsAnEventAndAMetric(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, rotating)
	out := r.measured()
	token := r.startPublished()
	r.quietly(func() { r.pass(r.workers[0]) })
	if err := r.step(t.Context(), "testSecret", token); err == nil {
		t.Fatal("testSecret passed")
	}
	if m := metricsIn(t, r.arn, out.String())["testSecret"]; m["Failed"] != 1 || m["Ready"] != 1 {
		t.Errorf("metrics are %v", m)
	}
	if d := r.readinessEvents()["testSecret"].Detail; d.Passed || d.Failed != 1 || d.Reasons["silent"] != 1 || !strings.Contains(d.Message, "silent") {
		t.Errorf("event is %+v", d)
	}
}
