package rotation_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/push"
	"github.com/rotatessh/rotatessh/rotator/internal/rotation"
)

// pusher plays Systems Manager: what it is told reaches the block of the rig's workers.
type pusher struct {
	r      *rig
	mu     sync.Mutex
	asked  []string
	answer func(id string, right push.Result) push.Result
}

func (p *pusher) Push(_ context.Context, ids []string, _ push.Document) map[string]push.Result {
	p.mu.Lock()
	p.asked = append(p.asked, ids...)
	p.mu.Unlock()
	results := make(map[string]push.Result)
	p.r.quietly(func() {
		doc, err := p.r.keysets.Fetch(context.Background())
		if err != nil {
			p.r.t.Error(err)
		}
		effective := doc.Keyset.Effective(time.Now())
		p.r.mu.Lock()
		defer p.r.mu.Unlock()
		for _, w := range p.r.workers {
			id := ledger.InstanceID(w.arn)
			if !slices.Contains(ids, id) {
				continue
			}
			right := push.Result{Outcome: push.Applied, File: "/home/x", Port: 22, HostKeys: []string{"ssh-ed25519 AAAA"}}
			for _, k := range effective.Keys {
				right.Held = append(right.Held, k.PublicKey.Fingerprint())
			}
			if p.answer != nil {
				right = p.answer(id, right)
			}
			if right.Outcome == push.Applied {
				w.block = effective.Keys
			}
			results[id] = right
		}
	})
	return results
}

// pushing is a rig with one worker that has an agent, and one that has none.
func pushing(t *testing.T, change ...func(*rig)) (*rig, *pusher, *worker) {
	t.Helper()
	r := newRig(t, 2, append(change, rotating)...)
	p := &pusher{r: r}
	r.parts.Pusher = p
	r.rotator = rotation.New(r.parts)
	r.rotator.TestOnlyLeaseTime(time.Second)
	r.rotator.TestOnlyPatience(2 * time.Second)
	r.workers[1].agentless = true
	r.followPublications()
	return r, p, r.workers[1]
}

// answers gives the worker's record.
func (r *rig) record(w *worker) ledger.Ack {
	r.t.Helper()
	acks, err := r.ledger.Acks(r.t.Context(), r.arn, []string{w.arn}, time.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	return acks[w.arn]
}

func TestAWorkerWithoutAnAgentIsServedAndProved(t *testing.T) {
	t.Parallel()
	r, p, w := pushing(t, func(r *rig) { r.policy.RetireAfter = time.Millisecond })
	_, old := r.labelled("AWSCURRENT")
	token := r.rotate()
	r.complete(token)
	report := r.reportOf("testSecret")
	if report.Ready != 2 || len(report.Pushed) != 1 || report.Pushed[0].Worker != w.arn || report.Pushed[0].Code != "pushed" {
		t.Errorf("report is %+v", report)
	}
	if slices.Contains(p.asked, ledger.InstanceID(r.workers[0].arn)) {
		t.Error("a worker with an agent was pushed to")
	}
	if r.reportOf("finishSecret").Pushed == nil {
		t.Error("the switch's report does not tell who was pushed to")
	}
	retiring, _ := r.document().Keyset.Find(keyset.Retiring)
	time.Sleep(time.Until(retiring.NotAfter) + 1100*time.Millisecond)
	r.follow()
	if !w.accepts(old.PublicKey(), retiring.NotAfter.Add(-time.Millisecond)) {
		t.Fatal("the old key is not in the file of the worker without an agent: this test shows nothing")
	}
	r.mustHandle(scheduleEvent())
	steady := r.reportOf("steady")
	if !steady.Passed || len(steady.Pushed) != 1 || steady.Pushed[0].Worker != w.arn {
		t.Errorf("report is %+v", steady)
	}
	if slices.ContainsFunc(w.block, func(k keyset.Key) bool { return k.PublicKey == old.PublicKey() }) {
		t.Error("the old key is still in the file")
	}
	pushes := len(p.asked)
	r.mustHandle(scheduleEvent())
	if len(p.asked) != pushes {
		t.Error("a worker of which everything is known was pushed to again")
	}
	r.complete(r.rotate()) // and it is served again for the next key
}

func TestAPushThatIsNotProvedCountsForNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, code, want string
		set              func(*rig, *pusher, *worker)
	}{
		{"the script refuses", "push-failed", "symlink: it is a link", func(_ *rig, p *pusher, _ *worker) {
			p.answer = func(string, push.Result) push.Result {
				return push.Result{Outcome: push.Failed, Code: "symlink", Message: "it is a link"}
			}
		}},
		{"the log-in fails", "push-failed", "logging in with the current key", func(r *rig, _ *pusher, w *worker) {
			r.probeErr = func(f fleet.Worker) error {
				if f.ARN == w.arn {
					return context.DeadlineExceeded
				}
				return nil
			}
		}},
		{"no key is in the file", "incomplete", "lacks", func(_ *rig, p *pusher, _ *worker) {
			p.answer = func(_ string, right push.Result) push.Result { right.Held = nil; return right }
		}},
		{"no host key is known", "no-host-key", "host keys", func(_ *rig, p *pusher, _ *worker) {
			p.answer = func(_ string, right push.Result) push.Result { right.HostKeys = nil; return right }
		}},
		{"its agent is woken and stays silent", "silent", "", func(_ *rig, p *pusher, _ *worker) {
			p.answer = func(string, push.Result) push.Result { return push.Result{Outcome: push.Nudged} }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, p, w := pushing(t)
			c.set(r, p, w)
			before, _ := r.labelled("AWSCURRENT")
			token := r.startPublished()
			if err := r.step(t.Context(), "testSecret", token); err == nil || !strings.Contains(err.Error(), c.code) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("testSecret: %v", err)
			}
			if report := r.reportOf("testSecret"); report.Reasons[c.code] != 1 || len(report.Reasons) != 1 || len(report.Pushed) != 0 {
				t.Errorf("report is %+v", report)
			}
			if now, _ := r.labelled("AWSCURRENT"); now != before {
				t.Error("the key was switched")
			}
		})
	}
}

func TestAnAgentThatWasWokenIsReportedAndSpeaksForItself(t *testing.T) {
	t.Parallel()
	r, p, w := pushing(t)
	p.answer = func(string, push.Result) push.Result { r.pass(w); return push.Result{Outcome: push.Nudged} }
	r.complete(r.rotate())
	if report := r.reportOf("testSecret"); len(report.Pushed) != 1 || report.Pushed[0].Code != "nudged" {
		t.Errorf("report is %+v", report)
	}
	own := r.record(w)
	if own.Pushed {
		t.Fatalf("record is %+v", own)
	}
	if err := r.ledger.PutPushed(t.Context(), own, time.Now()); err == nil {
		t.Error("the rotator's word replaced the agent's")
	}
	if err := r.ledger.PutPushed(t.Context(), own, time.Now().Add(ledger.AckLifetime+time.Second)); err != nil {
		t.Errorf("an acknowledgement that has expired stands in the way: %v", err)
	}
}

func TestWorkersAreLeftToTheirAgentsForAWhile(t *testing.T) {
	t.Parallel()
	r, p, _ := pushing(t, func(r *rig) { r.policy.PushAfter = time.Hour })
	token := r.startPublished()
	if err := r.step(t.Context(), "testSecret", token); err == nil || !strings.Contains(err.Error(), "silent 1") {
		t.Errorf("testSecret: %v", err)
	}
	r.mustHandle(scheduleEvent())
	if len(p.asked) > 0 {
		t.Errorf("%v were pushed to", p.asked)
	}
}

func TestAWorkerThatComesBetweenRotationsIsServed(t *testing.T) {
	t.Parallel()
	r, _, _ := pushing(t)
	r.complete(r.rotate())
	late := r.addWorker()
	late.agentless = true
	r.mustHandle(scheduleEvent())
	if a := r.record(late); !a.Pushed || len(late.block) == 0 {
		t.Errorf("record is %+v", a)
	}
}

func TestARevocationServesWorkersWithoutAnAgentBeforeItGivesThemUp(t *testing.T) {
	t.Parallel()
	r, _, w := pushing(t)
	r.rotate()
	_, stolen := r.labelled("AWSCURRENT")
	r.parts.Policy.PushAfter = time.Second
	r.rotator = rotation.New(r.parts)
	r.rotator.TestOnlyPatience(20 * time.Second)
	r.rotator.TestOnlyHeadStart(0)
	req := r.revocation(1)
	r.mustAsk(req)
	r.complete(req.VersionID)
	time.Sleep(1100 * time.Millisecond) // until it is left to its agent no longer
	r.mustHandle(scheduleEvent())
	r.refused(stolen.Fingerprint())
	if slices.ContainsFunc(w.block, func(k keyset.Key) bool { return k.PublicKey == stolen.PublicKey() }) {
		t.Error("the revoked key is still in the file of the worker without an agent")
	}
}
