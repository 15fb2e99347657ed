package rotation_test

import (
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

func TestReportsTellHowLongWorkersTook(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(r *rig) { r.policy.RetireAfter = time.Millisecond })
	for i, w := range r.workers {
		w.alter = func(a *ledger.Ack) { a.AppliedAt = time.Now().Add(time.Duration(i+1) * time.Minute) }
	}
	r.followPublications()
	r.rotate()
	r.rotate()
	minutes := func(report ledger.Report, of int) {
		t.Helper()
		s := report.Spread
		if s == nil || s.From.IsZero() || s.Of != 2 || s.Done != of || len(s.Seconds) != of {
			t.Fatalf("%s: %+v", report.Phase, s)
		}
		for i, seconds := range s.Seconds {
			if want := float64(60 * (i + 1)); seconds < want-30 || seconds > want+30 {
				t.Errorf("%s: worker %d took %v s, not about %v", report.Phase, i, seconds, want)
			}
		}
	}
	minutes(r.reportOf("testSecret"), 2)
	if s := r.reportOf("finishSecret").Spread; s != nil {
		t.Errorf("finishSecret: %+v", s)
	}

	retiring, _ := r.document().Keyset.Find(keyset.Retiring)
	time.Sleep(time.Until(retiring.NotAfter) + 1100*time.Millisecond) // the clock is a second's lower bound
	r.quietly(func() { r.pass(r.workers[0]) })
	if _, err := r.handle(scheduleEvent()); err != nil {
		t.Fatal(err)
	}
	steady := r.reportOf("steady")
	minutes(steady, 1)
	if !steady.Spread.From.Equal(retiring.NotAfter) {
		t.Errorf("the old key's end is %v, not %v", steady.Spread.From, retiring.NotAfter)
	}
}
