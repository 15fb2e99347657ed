package rotation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
	"github.com/rotatessh/rotatessh/rotator/internal/rotation"
)

// crowd is a fleet of any size that counts how often it is listed.
type crowd struct {
	workers []fleet.Worker
	listed  atomic.Int64
}

func (c *crowd) Workers(context.Context) ([]fleet.Worker, error) {
	c.listed.Add(1)
	return slices.Clone(c.workers), nil
}

func (c *crowd) Running(context.Context, []string) ([]fleet.Worker, error) { return nil, nil }

// newCrowd makes workers with the given letter in their names, in another order than that of their ARNs.
func newCrowd(n int, name string) *crowd {
	c := &crowd{}
	for i := range n {
		id := fmt.Sprintf("i-%017x", n-i)
		c.workers = append(c.workers, fleet.Worker{
			ARN: "arn:aws:ec2:us-east-1:111122223333:instance/" + id, ID: id, Name: name, Address: "10.20.30.40", Zone: "us-east-1a",
			Launched: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		})
	}
	return c
}

// list asks for one page, and gives its size as the function's answer as well.
func (r *rig) list(after string) (operator.Listing, int) {
	r.t.Helper()
	req := operator.New(operator.Workers, r.arn, "arn:aws:iam::111122223333:user/ann")
	req.After = after
	raw, err := json.Marshal(req)
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := r.rotator.Handle(r.t.Context(), raw)
	if err != nil {
		r.t.Fatal(err)
	}
	answer, err := json.Marshal(out)
	if err != nil {
		r.t.Fatal(err)
	}
	return out.(operator.Listing), len(answer)
}

// listAll takes all pages, of which none may be larger than what Lambda lets a function give.
func (r *rig) listAll() (workers []operator.Worker, pages int) {
	r.t.Helper()
	const most = 6 << 20
	for after := ""; ; {
		page, size := r.list(after)
		if pages++; size > most {
			r.t.Errorf("page %d has %d bytes", pages, size)
		}
		workers = append(workers, page.Workers...)
		if after = page.Next; after == "" {
			return workers, pages
		}
	}
}

func TestAFleetOfAHundredThousandIsListedPageByPage(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	for _, c := range []struct {
		workers int
		name    string
		pages   int
	}{
		{0, "", 1},
		{1, "", 1},
		{100_000, "worker", 4},
		{10_000, strings.Repeat("<", 256), 4}, // a character that JSON may write as six
	} {
		everybody := newCrowd(c.workers, c.name)
		r.parts.Fleet = everybody
		r.rotator = rotation.New(r.parts)
		for range 2 {
			before := everybody.listed.Load()
			workers, pages := r.listAll()
			if pages != c.pages || len(workers) != c.workers {
				t.Errorf("%d workers on %d pages, want %d on %d", len(workers), pages, c.workers, c.pages)
			}
			for i, w := range workers {
				if want := everybody.workers[c.workers-1-i]; w.ARN != want.ARN || w.Name != want.Name || w.Address != want.Address || w.Zone != want.Zone || !w.Launched.Equal(want.Launched) {
					t.Fatalf("worker %d is %+v, want %+v", i, w, want)
				}
			}
			if n := everybody.listed.Load() - before; n != 1 {
				t.Errorf("%d pages took listing the fleet %d times", pages, n)
			}
		}
	}
}

func TestAPageGoesOnWhereverTheFleetHasChangedMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.parts.Fleet = newCrowd(40_000, "worker")
	r.rotator = rotation.New(r.parts)
	first, _ := r.list("")
	smaller := newCrowd(40_000, "worker")
	smaller.workers = slices.DeleteFunc(smaller.workers, func(w fleet.Worker) bool { return w.ARN == first.Next })
	r.parts.Fleet = smaller
	r.rotator = rotation.New(r.parts) // another process serves the second page
	second, _ := r.list(first.Next)
	if len(first.Workers)+len(second.Workers) != 40_000 || second.Workers[0].ARN <= first.Next || second.Next != "" {
		t.Errorf("%d and %d workers, the second page begins with %s after %s", len(first.Workers), len(second.Workers), second.Workers[0].ARN, first.Next)
	}
}

func TestTheFirstPageIsNeverOfAnEarlierListing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	everybody := newCrowd(40_000, "worker")
	r.parts.Fleet = everybody
	r.rotator = rotation.New(r.parts)
	if page, _ := r.list(""); page.Next == "" {
		t.Fatal("the fleet fits on one page")
	}
	everybody.workers = everybody.workers[:1]
	if page, _ := r.list(""); len(page.Workers) != 1 || page.Next != "" {
		t.Errorf("%d workers are listed, and more after %q", len(page.Workers), page.Next)
	}
}

func TestListingChangesNothingAndIsNoLineOfTheAudit(t *testing.T) {
	t.Parallel()
	r, logs := audited(t, 2)
	r.followPublications()
	r.rotate()
	r.startRotation() // and another one is under way
	if err := r.ledger.AcquireLease(t.Context(), ledger.Lease{SecretARN: r.arn, Owner: "another", Purpose: "promoting"}, time.Now(), time.Hour); err != nil {
		t.Fatal(err)
	}
	calls, lines, versions := len(r.aws.Calls()), logs.Len(), r.versions()
	workers, _ := r.listAll()
	var got []string
	for _, w := range workers {
		got = append(got, w.ARN)
	}
	want := []string{r.workers[0].arn, r.workers[1].arn}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, call := range r.aws.Calls()[calls:] {
		if call.Service == "lambda" {
			continue // Secrets Manager's own attempt, which fails
		}
		if !slices.Contains([]string{"GetSecretValue", "DescribeInstances", "Query"}, call.Action) {
			t.Errorf("it calls %s of %s", call.Action, call.Service)
		}
	}
	if diff := cmp.Diff(versions, r.versions()); diff != "" {
		t.Errorf("the secret is another one:\n%s", diff)
	}
	if n := logs.Len(); n != lines {
		t.Errorf("it logs %+v", logs.All()[lines:])
	}
}

func TestAWorkerThatHasLostItsTagIsListedAsLongAsItCounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, func(r *rig) { r.policy.MaxShrink = 100 })
	r.followPublications()
	r.rotate()
	for _, w := range r.workers[1:] {
		r.untag(w)
	}
	r.rotate()
	if err := r.aws.SetInstanceState(ledger.InstanceID(r.workers[2].arn), "terminated"); err != nil {
		t.Fatal(err)
	}
	workers, _ := r.listAll()
	if len(workers) != 2 {
		t.Fatalf("workers are %+v", workers)
	}
	for _, w := range workers {
		if w.Untagged != (w.ARN == r.workers[1].arn) {
			t.Errorf("worker is %+v", w)
		}
	}
}

func TestTheWorkersOfAnotherSecretAreNotListed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	r.rotate()
	req := operator.New(operator.Workers, r.arn+"-other", "ann")
	if _, err := r.ask(t.Context(), req); err == nil || !strings.Contains(err.Error(), "workers: the keyset secret serves another key-pair secret") {
		t.Errorf("error is %v", err)
	}
}
