package demo

import "context"

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
