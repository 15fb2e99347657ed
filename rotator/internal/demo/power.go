package demo

import (
	"context"
	"slices"

	"golang.org/x/sys/unix"
)

// keeper keeps a program of a worker running until it is told to end it.
type keeper struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

// keep runs what keeps a program running, until the keeper or the fleet ends.
func (f *Fleet) keep(run func(context.Context)) keeper {
	ctx, cancel := context.WithCancel(f.alive)
	k := keeper{cancel: cancel, ended: make(chan struct{})}
	f.parts.Go(func() {
		defer close(k.ended)
		run(ctx)
	})
	return k
}

// end ends the program, and waits until it is gone.
func (k keeper) end() {
	k.cancel()
	<-k.ended
}

// startAgent starts the worker's agent and restarts it whenever it ends, until stopAgent.
func (f *Fleet) startAgent(w *Worker) {
	w.agentKeeper = f.keep(func(ctx context.Context) { f.keepAgent(ctx, w) })
}

// stopAgent ends the worker's agent for good, as an operator would, or an agent that crashes at every start.
func (f *Fleet) stopAgent(w *Worker) { w.agentKeeper.end() }

// powerOff ends everything that runs on a worker, log-ins included, and takes it out of the fleet. The inventory
// has the instance in that state then. Its files stay.
func (f *Fleet) powerOff(w *Worker, state string) error {
	f.setWorkers(slices.DeleteFunc(f.Workers(), func(have *Worker) bool { return have == w }))
	w.agentKeeper.end()
	w.sshdKeeper.end()
	for _, pid := range sessions(w.dir) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return f.server.SetInstanceState(w.ID, state)
}

// powerOn is a worker's boot after powerOff.
func (f *Fleet) powerOn(ctx context.Context, w *Worker) error {
	if err := f.server.SetInstanceState(w.ID, "running"); err != nil {
		return err
	}
	f.setWorkers(append(f.Workers(), w))
	return f.startWorker(ctx, w)
}

// launchInstance adds the nth worker as a running instance that has not booted yet: nothing runs on it before
// startWorker.
func (f *Fleet) launchInstance(n int) (*Worker, error) {
	w, err := newWorker(f.folder.path, f.user, n)
	if err != nil {
		return nil, err
	}
	if err := w.enroll(f.server); err != nil {
		return nil, err
	}
	f.setWorkers(append(f.Workers(), w))
	return w, nil
}
