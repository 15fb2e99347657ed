package rotation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// errProbe says that a log-in with the pending key did not work.
var errProbe = errors.New("logging in with the pending key failed")

// probe logs in to a sample of the ready workers and gives their number. Nobody is probed while nobody is
// ready, which the gate allows only for the very first key.
func (r *Rotator) probe(ctx context.Context, secretARN string, ready fleet.Readiness, key ssh.Signer) (int, error) {
	n := r.Policy.ProbeSample
	if p := r.Policy.ProbePercent; p > 0 {
		n = (len(ready.Ready)*p + 99) / 100
	}
	sample := pick(ready, n)
	now, err := r.now()
	if err != nil {
		return 0, err
	}
	acks, err := r.Ledger.Acks(ctx, secretARN, fleet.ARNs(sample), now)
	if err != nil {
		return 0, err
	}
	var mu sync.Mutex
	var failed []string
	var g errgroup.Group
	g.SetLimit(r.probes())
	for _, w := range sample {
		g.Go(func() error {
			if err := r.probeOne(ctx, w, acks, key); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, fmt.Sprintf("%s: %v", w.ID, err))
			}
			return nil
		})
	}
	_ = g.Wait()
	if len(failed) == 0 {
		return len(sample), nil
	}
	slices.Sort(failed)
	const named = 10
	more := ""
	if len(failed) > named {
		more = fmt.Sprintf(" and %d more", len(failed)-named)
	}
	return len(sample), fmt.Errorf("%w on %s tried: %s%s", errProbe, plural.Share(len(failed), len(sample), "worker"), strings.Join(failed[:min(named, len(failed))], "; "), more)
}

// probes is how many workers are probed at once: as many as may log in, and as many again for which the command runs.
func (r *Rotator) probes() int { return 2 * r.Policy.ProbeConcurrency }

func (r *Rotator) probeOne(ctx context.Context, w fleet.Worker, acks map[string]ledger.Ack, key ssh.Signer) error {
	a, found := acks[w.ARN]
	if !found {
		return errors.New("its acknowledgement has gone, so that nobody knows its host keys")
	}
	return r.Prober.Probe(ctx, w, a, key)
}

// maxKinds bounds what different sshd settings add to a sample: where each machine has its own, such as an address to
// listen on, they tell no kinds apart.
const maxKinds = 100

// pick chooses n ready workers, or as many as there are different sshd settings: one of each kind first, then of
// availability zones that are missing yet, and otherwise by chance.
func pick(ready fleet.Readiness, n int) []fleet.Worker {
	workers := slices.Clone(ready.Ready)
	rand.Shuffle(len(workers), func(i, j int) { workers[i], workers[j] = workers[j], workers[i] })
	kind := func(w fleet.Worker) string { return ready.Findings[w.ARN].Settings }
	zone := func(w fleet.Worker) string { return w.Zone }
	zones := make(map[string]bool)
	kinds, rest := oneOfEach(workers, make(map[string]bool), kind)
	for _, w := range kinds {
		zones[w.Zone] = true
	}
	spread, rest := oneOfEach(rest, zones, zone)
	all := slices.Concat(kinds, spread, rest)
	return all[:min(max(n, min(len(kinds), maxKinds)), len(all))]
}

// oneOfEach takes the first worker of each group that has not been seen.
func oneOfEach(workers []fleet.Worker, seen map[string]bool, group func(fleet.Worker) string) (first, rest []fleet.Worker) {
	for _, w := range workers {
		if g := group(w); !seen[g] {
			seen[g] = true
			first = append(first, w)
			continue
		}
		rest = append(rest, w)
	}
	return first, rest
}
