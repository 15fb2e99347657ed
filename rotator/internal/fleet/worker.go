// Package fleet knows who the workers are and who of them is ready. Who is expected comes from EC2, from Auto
// Scaling groups and from a list that an operator keeps; what a worker says about itself can make it ready or not,
// never make it expected or let it be forgotten.
package fleet

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Worker is one machine as the inventory has it.
type Worker struct {
	ARN      string // instance ARN, under which the worker acknowledges
	ID       string // instance id
	Name     string // its Name tag, possibly empty
	Address  string // where to reach it: the private IPv4 address, or the IPv6 one if there is no other
	Zone     string // availability zone
	Launched time.Time
	Untagged bool // it runs and acknowledges, but no source lists it
}

// ARNs are the workers' ARNs, in their order.
func ARNs(workers []Worker) []string {
	arns := make([]string, len(workers))
	for i, w := range workers {
		arns[i] = w.ARN
	}
	return arns
}

// Source lists workers. A list that cannot be read whole is an error: a shorter one would pass for a smaller fleet.
type Source interface {
	Workers(context.Context) ([]Worker, error)
}

// Fleet is everybody whom any of its sources lists. It is safe for concurrent use.
type Fleet struct {
	sources []Source
	places  []*Inventory
}

// New gives the fleet of these sources. places are where else to look for an instance that is running.
func New(places []*Inventory, sources ...Source) *Fleet {
	return &Fleet{sources: sources, places: places}
}

// Workers asks all sources at once and gives each worker once, ordered by instance id. One source that fails
// makes it fail.
func (f *Fleet) Workers(ctx context.Context) ([]Worker, error) {
	lists, err := all(ctx, f.sources, func(ctx context.Context, s Source) ([]Worker, error) { return s.Workers(ctx) })
	if err != nil {
		return nil, err
	}
	return merge(lists), nil
}

// Running gives those of the given instances that are running, whatever their tags and groups.
func (f *Fleet) Running(ctx context.Context, arns []string) ([]Worker, error) {
	lists, err := all(ctx, f.places, func(ctx context.Context, i *Inventory) ([]Worker, error) { return i.Running(ctx, arns) })
	if err != nil {
		return nil, err
	}
	return merge(lists), nil
}

func all[S any](ctx context.Context, sources []S, list func(context.Context, S) ([]Worker, error)) ([][]Worker, error) {
	lists := make([][]Worker, len(sources))
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range sources {
		g.Go(func() (err error) {
			lists[i], err = list(ctx, s)
			return err
		})
	}
	return lists, g.Wait()
}

// merge keeps the first of each worker. The lists are its own to change.
func merge(lists [][]Worker) []Worker {
	var workers []Worker
	if len(lists) == 1 {
		workers = lists[0] // a large fleet's list need not be copied
	} else {
		workers = slices.Concat(lists...)
	}
	slices.SortStableFunc(workers, byID)
	return slices.CompactFunc(workers, func(a, b Worker) bool { return a.ARN == b.ARN })
}

// byID goes by instance id, which names the machine to people, and by ARN where two machines of a list share one.
func byID(a, b Worker) int {
	if c := strings.Compare(a.ID, b.ID); c != 0 {
		return c
	}
	return strings.Compare(a.ARN, b.ARN)
}
