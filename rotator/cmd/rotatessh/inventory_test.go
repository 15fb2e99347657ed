package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"

	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/report"
)

// rotatorThat answers after a while with the n-th worker, or with an error of its own.
type rotatorThat struct {
	takes time.Duration
	n     int
	err   error
}

func (r *rotatorThat) ask(context.Context) ([]fleet.Worker, error) {
	time.Sleep(r.takes)
	if r.n++; r.err != nil {
		return nil, r.err
	}
	return []fleet.Worker{{ID: strings.Repeat("x", r.n)}}, nil
}

func TestTheRotatorIsAskedAgainInProportionToWhatThatCosts(t *testing.T) {
	for takes, wait := range map[time.Duration]time.Duration{0: inventoryAge, time.Second: inventoryAge, time.Minute: 10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			r := &rotatorThat{takes: takes}
			i := &inventory{ask: r.ask}
			for _, step := range []struct {
				sleep time.Duration
				asked int
			}{{0, 1}, {wait - time.Second, 1}, {2 * time.Second, 2}} {
				time.Sleep(step.sleep)
				workers, err := i.Workers(t.Context())
				if err != nil || len(workers) != 1 || len(workers[0].ID) != step.asked {
					t.Errorf("where it takes %v: %v, %v, want those of answer %d", takes, workers, err, step.asked)
				}
			}
		})
	}
}

func TestARotatorThatCannotBeAskedForAWhileIsStillBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var warnings strings.Builder
		r := &rotatorThat{}
		i := &inventory{ask: r.ask, tagged: neighbours{{}}, warnings: &warnings}
		first, err := i.Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.err = &smithy.OperationError{ServiceID: "Lambda", Err: &smithy.GenericAPIError{Code: "TooManyRequestsException"}}
		time.Sleep(2 * inventoryAge)
		if later, err := i.Workers(t.Context()); err != nil || later[0] != first[0] || i.source != report.FromRotator || warnings.Len() > 0 {
			t.Errorf("busy: %v, %v, of %q, %q", later, err, i.source, warnings.String())
		}
		r.err = errors.New("the rotator refused or failed")
		time.Sleep(2 * inventoryAge)
		if _, err := i.Workers(t.Context()); !errors.Is(err, r.err) {
			t.Errorf("failed: %v", err)
		}
		r.err = nil
		if back, err := i.Workers(t.Context()); err != nil || back[0] == first[0] {
			t.Errorf("again there: %v, %v", back, err)
		}
	})
}

// neighbours are the workers that a look-up by tag finds.
type neighbours []fleet.Worker

func (n neighbours) Workers(context.Context) ([]fleet.Worker, error) { return n, nil }

func TestWhoeverCannotAskIsToldOnceAndTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var warnings strings.Builder
		r := &rotatorThat{err: &smithy.OperationError{ServiceID: "Lambda", Err: &smithy.GenericAPIError{Code: "AccessDeniedException"}}}
		i := &inventory{ask: r.ask, tagged: neighbours{{ID: "i-1"}}, where: "Fleet=blue in us-east-1", warnings: &warnings}
		for range 3 {
			workers, err := i.Workers(t.Context())
			if err != nil || len(workers) != 1 || workers[0].ID != "i-1" || i.source != report.FromTag || len(i.notes()) != 1 {
				t.Errorf("%v, %v, of %q, %q", workers, err, i.source, i.notes())
			}
			time.Sleep(2 * inventoryAge)
		}
		if said := warnings.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "Fleet=blue in us-east-1") {
			t.Errorf("it says %q", said)
		}
		r.err = nil
		if workers, err := i.Workers(t.Context()); err != nil || workers[0].ID == "i-1" || i.source != report.FromRotator || len(i.notes()) != 0 {
			t.Errorf("then: %v, %v, of %q, %q", workers, err, i.source, i.notes())
		}
	})
}

// Secrets Manager's errors have the same codes as Lambda's, and another cause.
func TestOnlyWhatLambdaSaysTellsThatTheRotatorWasNotAsked(t *testing.T) {
	for _, code := range []string{"AccessDeniedException", "ResourceNotFoundException", "TooManyRequestsException"} {
		err := error(&smithy.GenericAPIError{Code: code})
		if why := unasked(&smithy.OperationError{ServiceID: "Lambda", Err: err}); why == "" {
			t.Errorf("%s of Lambda is not recognised", code)
		}
		if why := unasked(&smithy.OperationError{ServiceID: "Secrets Manager", Err: err}); why != "" {
			t.Errorf("%s of Secrets Manager is taken for %q", code, why)
		}
	}
}
