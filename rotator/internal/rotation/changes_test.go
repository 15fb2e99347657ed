package rotation_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	logged "go.uber.org/zap/zaptest/observer"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/push"
)

const (
	becameReady  = "workers have become ready"
	notReady     = "workers are not ready"
	joined       = "workers have joined"
	gone         = "workers have gone"
	refuse       = "workers refuse the old key"
	doNotRefuse  = "workers do not refuse the old key"
	nobodyKnows  = "workers have changed or gone that the last report does not name"
	linesOfState = becameReady + notReady + joined + gone + refuse + doNotRefuse + nobodyKnows
)

// told are the lines about workers' states since the last call, each as "what: its workers".
func told(logs *logged.ObservedLogs) (lines []string) {
	for _, entry := range logs.TakeAll() {
		if !strings.Contains(linesOfState, entry.Message) {
			continue
		}
		what := entry.Message + ":"
		for _, field := range []string{"workers", "before", "now"} {
			list, _ := entry.ContextMap()[field].([]any)
			for _, item := range list {
				what += " " + item.(string) + ";"
			}
		}
		lines = append(lines, what)
	}
	return lines
}

func mustTell(t *testing.T, logs *logged.ObservedLogs, when string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, told(logs)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

func (w *worker) id() string { return ledger.InstanceID(w.arn) }

// passing lets these workers take the keyset and acknowledge.
func (r *rig) passing(some ...*worker) {
	r.quietly(func() {
		for _, w := range some {
			r.pass(w)
		}
	})
}

// lacking makes a worker's passes fail with this code, or succeed with "".
func (w *worker) lacking(code string) {
	w.alter = func(a *ledger.Ack) {
		if code != "" {
			a.Outcome, a.Code = ledger.Failed, code
		}
	}
}

func TestAWorkerThatChangesBetweenTwoRunsIsOneLine(t *testing.T) {
	t.Parallel()
	r, logs := audited(t, 3)
	r.followPublications()
	r.rotate()
	r.onCall = nil
	token := r.startPublished()
	a, b, c := r.workers[0], r.workers[1], r.workers[2]
	b.lacking("disk-full")
	r.passing(a, b)
	logs.TakeAll()
	again := func() {
		t.Helper()
		if err := r.soon("testSecret", token); err == nil {
			t.Fatal("testSecret passed")
		}
	}
	again()
	mustTell(t, logs, "the first run", becameReady+": "+a.id()+";", notReady+": "+b.id()+" failed:disk-full, was behind;")
	b.lacking("")
	r.passing(b)
	again()
	mustTell(t, logs, "after one has become ready", becameReady+": "+b.id()+";")
	again()
	mustTell(t, logs, "after nothing")
	a.lacking("drift")
	r.passing(a)
	again()
	mustTell(t, logs, "after one has come to fail", notReady+": "+a.id()+" failed:drift;")
	a.lacking("read-only")
	r.passing(a)
	again()
	mustTell(t, logs, "after it fails otherwise", notReady+": "+a.id()+" failed:read-only, was failed:drift;")
	a.lacking("")
	r.passing(a, c)
	r.mustStep("testSecret", token)
	line(t, logs, becameReady, "version_id", "fingerprint", "generation", "count")
	both := []string{a.id(), c.id()}
	slices.Sort(both)
	mustTell(t, logs, "after all are ready", becameReady+": "+strings.Join(both, "; ")+";")
	r.followPublications()
	r.mustStep("finishSecret", token)
	mustTell(t, logs, "at the switch, after nothing")
}

func TestAWorkerThatFailsBetweenTestAndSwitchIsOneLine(t *testing.T) {
	t.Parallel()
	r, logs := audited(t, 2)
	r.followPublications()
	r.rotate()
	token := r.startRotation()
	for _, s := range []string{"createSecret", "setSecret", "testSecret"} {
		r.mustStep(s, token)
	}
	logs.TakeAll()
	late := r.workers[1]
	late.lacking("drift")
	r.passing(late)
	for _, want := range [][]string{{notReady + ": " + late.id() + " failed:drift;"}, nil} {
		if err := r.soon("finishSecret", token); err == nil {
			t.Fatal("finishSecret passed")
		}
		mustTell(t, logs, "finishSecret", want...)
	}
	late.lacking("")
	r.passing(late)
	r.mustStep("finishSecret", token)
	mustTell(t, logs, "the switch", becameReady+": "+late.id()+";")
}

func TestWorkersThatJoinOrGoBetweenTwoRunsAreOneLineEach(t *testing.T) {
	t.Parallel()
	r, logs := audited(t, 6, func(r *rig) { r.policy.MaxShrink = 100 })
	r.followPublications()
	r.rotate()
	r.onCall = nil
	token := r.startPublished()
	r.passing(r.workers[:4]...)
	again := func() {
		t.Helper()
		if err := r.soon("testSecret", token); err == nil {
			t.Fatal("testSecret passed")
		}
	}
	again()
	logs.TakeAll()
	terminate := func(w *worker) {
		t.Helper()
		if err := r.aws.SetInstanceState(w.id(), "terminated"); err != nil {
			t.Fatal(err)
		}
	}
	terminate(r.workers[4])
	again()
	mustTell(t, logs, "after one that was behind has gone", gone+": "+r.workers[4].id()+", was behind;")
	terminate(r.workers[3])
	again()
	mustTell(t, logs, "after one that was ready has gone", nobodyKnows+": ready 4; ready 3;")
	again()
	mustTell(t, logs, "after nothing")
	late, err := r.aws.RunInstance(localaws.Instance{Tags: map[string]string{"RotateSSHKeys": "True"}, NoMetadata: true, LaunchTime: time.Now().Add(3 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	again()
	mustTell(t, logs, "after one was launched", joined+": "+late.ID+" booting;")
	again()
	mustTell(t, logs, "after nothing")
	r.mu.Lock()
	r.workers = append(r.workers, &worker{arn: late.ARN})
	r.mu.Unlock()
	r.passing(r.workers[6])
	again()
	mustTell(t, logs, "after it has acknowledged", becameReady+": "+late.ID+";")
}

// TestNobodyIsNamedOfWhomTheLastReportSaysNothing has more workers behind than a report names.
func TestNobodyIsNamedOfWhomTheLastReportSaysNothing(t *testing.T) {
	t.Parallel()
	r, logs := audited(t, 0, func(r *rig) { r.initial = existingSecret(t) })
	for range 106 {
		r.addWorker()
	}
	token := r.startPublished()
	r.passing(r.workers[0])
	again := func() ledger.Report {
		t.Helper()
		if err := r.soon("testSecret", token); err == nil {
			t.Fatal("testSecret passed")
		}
		return r.reportOf("testSecret")
	}
	report := again()
	var left []*worker
	for _, w := range r.workers[1:] {
		if !slices.ContainsFunc(report.Laggards, func(l ledger.Laggard) bool { return l.Worker == w.arn }) {
			left = append(left, w)
		}
	}
	if len(report.Laggards) != 100 || len(left) != 5 || report.Unlisted["silent"] != 5 {
		t.Fatalf("%d laggards, %d others, %v", len(report.Laggards), len(left), report.Unlisted)
	}
	logs.TakeAll()
	r.passing(left[0])
	again()
	if n := logs.FilterMessage(nobodyKnows).All(); len(n) != 1 || n[0].ContextMap()["not_named_before"] != int64(5) {
		t.Errorf("lines: %v", n)
	}
	mustTell(t, logs, "after one that was not named", nobodyKnows+": ready 1; silent 5; ready 2; silent 4;")
	again()
	mustTell(t, logs, "after nothing")
	for _, w := range r.workers[1:] {
		if !slices.Contains(left, w) {
			r.passing(w)
			again()
			mustTell(t, logs, "after one that was named", becameReady+": "+w.id()+";")
			break
		}
	}
}

func TestAPushThatFailsInEachRunIsOneLine(t *testing.T) {
	t.Parallel()
	core, logs := logged.New(zapcore.InfoLevel)
	r, p, w := pushing(t, func(r *rig) { r.log = zap.New(core) })
	p.answer = func(string, push.Result) push.Result {
		return push.Result{Outcome: push.Failed, Code: "symlink", Message: "it is a link"}
	}
	token := r.startPublished()
	logs.TakeAll()
	for _, want := range [][]string{{becameReady + ": " + r.workers[0].id() + ";", notReady + ": " + w.id() + " push-failed, was silent;"}, nil, nil} {
		if err := r.soon("testSecret", token); err == nil {
			t.Fatal("testSecret passed")
		}
		mustTell(t, logs, "testSecret", want...)
	}
}

func TestWorkersThatComeToRefuseTheOldKeyAreOneLine(t *testing.T) {
	t.Parallel()
	r, logs := audited(t, 3, func(r *rig) { r.policy.RetireAfter = time.Millisecond })
	r.followPublications()
	r.rotate()
	r.rotate()
	retiring, _ := r.document().Keyset.Find(keyset.Retiring)
	time.Sleep(time.Until(retiring.NotAfter) + 1100*time.Millisecond) // the clock is a second's lower bound
	a, b, c := r.workers[0], r.workers[1], r.workers[2]
	accepting := true
	b.alter = func(ack *ledger.Ack) {
		for i, k := range ack.Users[0].Keys {
			if k.State == "retired" && accepting {
				ack.Users[0].Keys[i].Accepted = ledger.Yes
			}
		}
	}
	look := func(when string, want ...string) {
		t.Helper()
		logs.TakeAll()
		if _, err := r.handle(scheduleEvent()); err != nil {
			t.Fatal(err)
		}
		mustTell(t, logs, when, want...)
	}
	look("before anybody has acknowledged the end")
	r.passing(a, b)
	look("after two have", refuse+": "+a.id()+";", doNotRefuse+": "+b.id()+" still-accepted, was unknown;")
	look("after nothing")
	accepting = false
	r.passing(b)
	look("after the key is gone there, too", refuse+": "+b.id()+";")
	r.passing(c)
	if _, err := r.handle(scheduleEvent()); err != nil {
		t.Fatal(err)
	}
	have := line(t, logs, refuse, "version_id", "fingerprint", "generation", "count")
	if have["refused"] != int64(3) || have["expected"] != int64(3) || have["actor"] != "schedule" {
		t.Errorf("the last line is %v", have)
	}
	look("after all have")
}
