package rotation_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

// anyRequest makes a request of a kind from the labels as they are, as the command does: sensible or not.
func (r *rig) anyRequest(kind operator.Kind, n int) operator.Request {
	pending, _ := r.labelled("AWSPENDING")
	current, _ := r.labelled("AWSCURRENT")
	previous, _ := r.labelled("AWSPREVIOUS")
	if pending == "" {
		pending = current
	}
	switch kind {
	case operator.Revoke:
		return r.revocation(n)
	case operator.Rollback:
		return r.back(current, previous)
	case operator.Waive:
		return r.waiver(r.workers[0], time.Hour)
	case operator.Unwaive:
		req := operator.New(kind, r.arn, "ann")
		req.Worker = r.waiver(r.workers[0], time.Hour).Worker
		return req
	}
	return r.request(kind, pending)
}

// TestRequestsTwiceAndInAnyOrderLeaveASecretThatRotates sends two requests, each of them twice, in the middle of a
// rotation and without one. Some are refused; what matters is that nobody is locked out and nothing stays stuck.
func TestRequestsTwiceAndInAnyOrderLeaveASecretThatRotates(t *testing.T) {
	kinds := []operator.Kind{operator.Abort, operator.Resume, operator.Rollback, operator.Revoke, operator.Waive, operator.Unwaive}
	var rows sync.WaitGroup
	for _, first := range kinds {
		rows.Go(func() {
			t.Run(string(first), func(t *testing.T) {
				r := newRig(t, 2, func(r *rig) { r.policy.RetireAfter = 500 * time.Millisecond })
				r.followPublications()
				r.rotate()
				r.rotate()
				for n, second := range kinds {
					r.twiceEach(first, second, n)
					if t.Failed() {
						t.Fatalf("%s and then %s", first, second)
					}
				}
			})
		})
	}
	rows.Wait()
}

func (r *rig) twiceEach(first, second operator.Kind, n int) {
	if n%2 == 0 { // the other half finds no rotation under way
		r.startPublished()
	}
	for i, kind := range []operator.Kind{first, second} {
		req := r.anyRequest(kind, 2*n+i+1)
		out, err := r.ask(r.t.Context(), req)
		again, errAgain := r.ask(r.t.Context(), req)
		if (err == nil) != (errAgain == nil) {
			r.t.Errorf("%s: %v, and when repeated: %v", kind, err, errAgain)
		}
		if err == nil && (again.CurrentVersionID != out.CurrentVersionID || again.Generation != out.Generation) {
			r.t.Errorf("%s: %+v, and when repeated: %+v", kind, out, again)
		}
	}
	if _, err := r.handle(scheduleEvent()); err != nil {
		r.t.Errorf("schedule: %v", err)
	}
	if pending, _ := r.labelled("AWSPENDING"); pending != "" {
		for _, s := range steps() {
			r.mustStep(s, pending)
		}
	}
	r.complete(r.rotate())
}

// TestAStepAloneDoesNoHarm sends one step of a rotation and none of the others, twice.
func TestAStepAloneDoesNoHarm(t *testing.T) {
	for _, used := range []bool{false, true} {
		for _, s := range steps() {
			t.Run(fmt.Sprintf("%s/key in use %v", s, used), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2)
				r.followPublications()
				if used {
					r.rotate()
				}
				before, _ := r.labelled("AWSCURRENT")
				generation := r.document().Keyset.Generation
				token := r.startRotation()
				for range 2 {
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
					err := r.step(ctx, s, token)
					cancel()
					if harmless := s == "createSecret" || s == "testSecret"; harmless != (err == nil) {
						t.Errorf("%s: %v", s, err)
					}
				}
				if current, _ := r.labelled("AWSCURRENT"); current != before {
					t.Errorf("AWSCURRENT is on %s", current)
				}
				if now := r.document().Keyset.Generation; now != generation {
					t.Errorf("generation %d was published", now)
				}
				r.complete(completions()[0].run(r, token))
			})
		}
	}
}
