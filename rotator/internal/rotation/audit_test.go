package rotation_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	logged "go.uber.org/zap/zaptest/observer"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

// audited is a rig whose rotator's log can be read.
func audited(t *testing.T, workers int, change ...func(*rig)) (*rig, *logged.ObservedLogs) {
	t.Helper()
	core, logs := logged.New(zapcore.InfoLevel)
	r := newRig(t, workers, append(change, func(r *rig) { r.log = zap.New(core) })...)
	return r, logs
}

// line is the last line that says what, with its fields. Each must be there and must not be empty.
func line(t *testing.T, logs *logged.ObservedLogs, what string, fields ...string) map[string]any {
	t.Helper()
	all := logs.FilterMessage(what).All()
	if len(all) == 0 {
		t.Errorf("nothing says %q", what)
		return nil
	}
	have := all[len(all)-1].ContextMap()
	for _, f := range append(fields, "actor", "reason", "secret_id") {
		if v, found := have[f]; !found || v == "" || v == int64(0) {
			t.Errorf("%q has no %s: %v", what, f, have)
		}
	}
	return have
}

func TestEachChangeOfARotationIsOneLineOfTheLog(t *testing.T) {
	t.Parallel()
	r, logs := audited(t, 2)
	r.followPublications()
	first := r.rotate()
	_, old := r.labelled("AWSCURRENT")
	second := r.rotate()
	_, pair := r.labelled("AWSCURRENT")
	line(t, logs, "key pair is stored", "version_id", "fingerprint")
	published := line(t, logs, "published keyset", "version_id", "generation", "keys")
	if keys, _ := published["keys"].([]any); len(keys) < 2 || keys[0] != "current "+pair.Fingerprint() || keys[1] != "retiring "+old.Fingerprint() {
		t.Errorf("published keys are %v", published["keys"])
	}
	moved := line(t, logs, "moved label", "label", "version_id", "from", "to", "fingerprint", "generation")
	if moved["from"] != first || moved["to"] != second || moved["fingerprint"] != pair.Fingerprint() || moved["actor"] != "Secrets Manager's rotation" || moved["reason"] != "finishSecret" {
		t.Errorf("moved: %v", moved)
	}
	dropped := line(t, logs, "dropped label", "label", "version_id", "from", "fingerprint", "generation")
	if dropped["label"] != "AWSPENDING" || dropped["from"] != second {
		t.Errorf("dropped: %v", dropped)
	}
	for _, what := range []string{"moved label", "dropped label"} {
		if n := logs.FilterMessage(what).Len(); n != 2 {
			t.Errorf("%d lines say %q for two rotations", n, what)
		}
	}
}

func TestEachChangeByAnOperatorIsOneLineWithWhoAndWhy(t *testing.T) {
	t.Parallel()
	r, logs := audited(t, 2)
	r.followPublications()
	first := r.rotate()
	second := r.rotate()
	by := func(what string, fields ...string) map[string]any {
		t.Helper()
		have := line(t, logs, what, fields...)
		if actor, _ := have["actor"].(string); !strings.HasSuffix(actor, "user/ann") || have["reason"] != "because" {
			t.Errorf("%q by %v for %v", what, have["actor"], have["reason"])
		}
		return have
	}
	label := []string{"label", "version_id", "fingerprint", "generation"}
	r.mustAsk(r.back(second, first))
	by("attached label", label...)
	by("moved label", label...)
	by("dropped label", label...)
	token := r.startPublished()
	r.mustAsk(r.request(operator.Abort, token))
	by("dropped label", label...)
	by("published keyset", "version_id", "generation", "keys")
	_, stolen := r.labelled("AWSCURRENT")
	r.mustAsk(r.revocation(1))
	for _, what := range []string{"attached label", "moved label"} {
		if revokes, _ := by(what, label...)["revokes"].([]any); !slices.Contains(revokes, any(stolen.Fingerprint())) {
			t.Errorf("%q does not say that %s is revoked", what, stolen.Fingerprint())
		}
	}
	if retired, _ := by("published keyset")["newly_retired"].([]any); !slices.Contains(retired, any(stolen.Fingerprint())) {
		t.Errorf("the publication does not say that %s is retired: %v", stolen.Fingerprint(), retired)
	}
	waiver := r.waiver(r.workers[0], time.Hour)
	waiver.Actor, waiver.Reason = "arn:aws:iam::111122223333:user/ann", "because"
	r.mustAsk(waiver)
	by("waived worker", "worker", "until", "generation")
	end := operator.New(operator.Unwaive, r.arn, waiver.Actor)
	end.Worker, end.Reason = waiver.Worker, "because"
	r.mustAsk(end)
	by("ended waiver", "worker", "generation")
	for _, entry := range logs.All() {
		if strings.Contains(entry.Message, "\n") || entry.ContextMap()["actor"] == nil {
			t.Errorf("%q has no actor", entry.Message)
		}
	}
}

func TestWorkersThatBecomeReadyOrAreGivenUpAreLogged(t *testing.T) {
	t.Parallel()
	r, logs := audited(t, 3, func(r *rig) { r.policy.Threshold = 60 })
	r.followPublications()
	r.rotate()
	r.onCall = nil
	token := r.startPublished()
	r.workers[2].acked = false // given up by the threshold
	time.AfterFunc(600*time.Millisecond, func() {
		r.quietly(func() { r.pass(r.workers[0]); r.pass(r.workers[1]) })
	})
	r.mustStep("testSecret", token)
	r.mustStep("finishSecret", token)
	names := func(what string) []any {
		t.Helper()
		workers, _ := line(t, logs, what, "version_id", "fingerprint", "generation", "count")["workers"].([]any)
		return workers
	}
	if got := names("workers have become ready"); !slices.Contains(got, any(ledger.InstanceID(r.workers[1].arn))) {
		t.Errorf("became ready: %v", got)
	}
	if got := names("switching without workers, which are given up"); len(got) != 1 || got[0] != ledger.InstanceID(r.workers[2].arn)+" behind" {
		t.Errorf("given up: %v", got)
	}
}
