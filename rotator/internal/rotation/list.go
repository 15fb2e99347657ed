package rotation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

const (
	// pageBytes bounds the workers of one answer: Lambda lets a function give 6 MB.
	pageBytes = 5 << 20
	// keepListed is how long the fleet that one page was cut from may serve the next ones.
	keepListed = time.Minute
)

// list tells an operator who the workers are. It takes no lease and changes nothing, so that it may run beside
// everything else.
func (r *Rotator) list(ctx context.Context, req operator.Request) (operator.Listing, error) {
	workers, next, err := r.page(ctx, req)
	if err != nil {
		return operator.Listing{}, fmt.Errorf("%s: %w", req.Request, err)
	}
	r.Log.Debug("operator reads the inventory", logging.SecretID(req.SecretARN), zap.String("after", req.After), zap.Int("workers", len(workers)))
	return operator.Listing{Request: req.Request, SecretARN: req.SecretARN, Workers: workers, Next: next}, nil
}

func (r *Rotator) page(ctx context.Context, req operator.Request) (some []operator.Worker, next string, err error) {
	doc, err := r.Keysets.Fetch(ctx)
	if err != nil && !errors.Is(err, keyset.ErrEmpty) {
		return nil, "", err
	}
	if err == nil && doc.Keyset.SecretARN != req.SecretARN {
		return nil, "", fmt.Errorf("%w: %q", errForeign, doc.Keyset.SecretARN)
	}
	workers, kept := r.listed.take(req.After, time.Now())
	if !kept {
		if workers, err = r.everybody(ctx, req.SecretARN); err != nil {
			return nil, "", err
		}
	}
	if some, next, err = cut(workers, req.After); err == nil && next != "" {
		r.listed.keep(workers, time.Now())
	}
	return some, next, err
}

// everybody is who counts, in the order of ARNs: whom the sources list, and those that run without being listed any
// more, as the last rotation has found them. To look for more of these takes reading the whole ledger.
func (r *Rotator) everybody(ctx context.Context, secretARN string) ([]fleet.Worker, error) {
	workers, err := r.Fleet.Workers(ctx)
	if err != nil {
		return nil, err
	}
	strays, err := r.knownStrays(ctx, secretARN, workers)
	if err != nil {
		return nil, err
	}
	workers = append(workers, strays...)
	slices.SortFunc(workers, func(a, b fleet.Worker) int { return cmp.Compare(a.ARN, b.ARN) })
	return workers, nil
}

// cut gives as many of the workers after that one as an answer holds, and the one to go on after if there are more.
// The workers are in the order of their ARNs.
func cut(workers []fleet.Worker, after string) (some []operator.Worker, next string, err error) {
	from, _ := slices.BinarySearchFunc(workers, after, func(w fleet.Worker, after string) int {
		if w.ARN <= after {
			return -1
		}
		return 1
	})
	some = []operator.Worker{}
	size := 0
	for _, w := range workers[from:] {
		worker := operator.Worker{ARN: w.ARN, Name: w.Name, Address: w.Address, Zone: w.Zone, Launched: w.Launched, Untagged: w.Untagged}
		text, err := json.Marshal(worker)
		if err != nil {
			return nil, "", fmt.Errorf("worker %s: %w", w.ARN, err)
		}
		if size += len(text) + len(","); size > pageBytes {
			return some, some[len(some)-1].ARN, nil
		}
		some = append(some, worker)
	}
	return some, "", nil
}

// listed keeps the fleet between an operator's requests for its pages: to list a large one takes minutes, and the
// requests mostly come to the same process. A first page is never cut from it, and it is dropped with the last, since
// the memory is needed for rotations. The zero value keeps nothing.
type listed struct {
	mu      sync.Mutex
	workers []fleet.Worker
	at      time.Time
}

func (l *listed) keep(workers []fleet.Worker, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.workers, l.at = workers, now.Round(0) // by the wall clock: the other one stands still while Lambda freezes the process
}

// take gives what is kept to whoever goes on after a worker, and keeps it no longer.
func (l *listed) take(after string, now time.Time) (workers []fleet.Worker, kept bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	workers, kept = l.workers, after != "" && l.workers != nil && now.Round(0).Sub(l.at) < keepListed
	l.workers = nil
	return workers, kept
}
