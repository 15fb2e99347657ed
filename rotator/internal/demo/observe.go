package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient"
)

const (
	loginEvery   = 200 * time.Millisecond
	loginTimeout = 30 * time.Second
	maxAtOnce    = 64 // log-ins of one controller, when the machine is slow
	keptFailures = 20
)

// Logins is what the controllers have been through.
type Logins struct {
	Tried    int
	Failed   int
	Failures []LoginFailure // the first few
	// ReadAgain are log-ins that succeeded with a key that was read again, after another one had been refused.
	ReadAgain int
}

// LoginFailure is one log-in, or the command after it, that did not succeed.
type LoginFailure struct {
	Controller string
	Worker     string
	After      time.Duration // since the fleet's start
	Err        error
}

func (l LoginFailure) String() string {
	return fmt.Sprintf("after %.1fs %s on %s: %v", l.After.Seconds(), l.Controller, l.Worker, l.Err)
}

// Observation is two controllers at work: both log in to one worker after the other and run a command, five
// times a second. One reads the key pair afresh each time; the other keeps it for half of the time for
// which a retired key is still accepted. Neither knows that there are rotations.
type Observation struct {
	fleet *Fleet
	stop  chan struct{}
	once  sync.Once
	parts sync.WaitGroup

	mu      sync.Mutex
	visited []*Worker // whom the controllers log in to
	inHand  map[*Worker]int
	logins  Logins
	rounds  map[string]int // completed log-ins, by controller
}

// Observe starts the controllers. They log in until Stop, or until ctx or the fleet ends; a log-in that is
// cut short by that does not count.
func (f *Fleet) Observe(ctx context.Context) *Observation {
	o := &Observation{fleet: f, stop: make(chan struct{}), visited: f.Workers(), inHand: map[*Worker]int{}, rounds: map[string]int{}}
	for _, c := range []*controller{
		{name: "fresh controller", read: f.CurrentPair},
		{name: "caching controller", read: f.CurrentPair, keep: f.caching()},
	} {
		o.parts.Go(func() { o.run(ctx, c) })
	}
	return o
}

// caching is how long a controller may use a key from memory. One that reads again when it is refused never
// does so before.
func (f *Fleet) caching() time.Duration {
	if f.options.readAgain {
		return time.Hour
	}
	return f.options.RetireAfter / 2
}

// Stop ends the controllers after the log-ins in hand and gives the result.
func (o *Observation) Stop() Logins {
	o.once.Do(func() { close(o.stop) })
	o.parts.Wait()
	return o.Logins()
}

// Logins is the result so far.
func (o *Observation) Logins() Logins {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.logins
}

// Round waits until each controller has been to every worker since the call, with or without success.
func (o *Observation) Round(ctx context.Context) error {
	return o.roundAnd(ctx, func(int) bool { return true })
}

// roundAnd is Round, and waits until the number of log-ins tried altogether is enough.
func (o *Observation) roundAnd(ctx context.Context, enough func(tried int) bool) error {
	ctx, cancel := o.fleet.bound(ctx)
	defer cancel()
	goal := map[string]int{}
	o.mu.Lock()
	maps.Copy(goal, o.rounds)
	o.mu.Unlock()
	err := until(ctx, func() (bool, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		for name, n := range o.rounds {
			if n-goal[name] < len(o.visited) {
				return false, nil
			}
		}
		return len(o.rounds) > 0 && enough(o.logins.Tried), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the controllers: %w", err)
	}
	return nil
}

func (o *Observation) run(ctx context.Context, c *controller) {
	o.mu.Lock()
	o.rounds[c.name] = 0
	o.mu.Unlock()
	tick := time.NewTicker(loginEvery)
	defer tick.Stop()
	atOnce := make(chan struct{}, maxAtOnce)
	for n := 0; ; n++ {
		atOnce <- struct{}{}
		w := o.next(n)
		o.parts.Go(func() {
			defer func() { <-atOnce }()
			o.record(ctx, c, w, o.login(ctx, c, w))
		})
		select {
		case <-o.stop:
			return
		case <-ctx.Done():
			return
		case <-o.fleet.alive.Done():
			return
		case <-tick.C:
		}
	}
}

// next takes the nth visit's worker in hand.
func (o *Observation) next(n int) *Worker {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.visited[n%len(o.visited)]
	o.inHand[w]++
	return w
}

// Leave has the controllers visit a worker no more, and waits until no visit is in hand. At least one other
// worker must be left.
func (o *Observation) Leave(ctx context.Context, w *Worker) error {
	o.mu.Lock()
	o.visited = slices.DeleteFunc(slices.Clone(o.visited), func(have *Worker) bool { return have == w })
	o.mu.Unlock()
	ctx, cancel := o.fleet.bound(ctx)
	defer cancel()
	return until(ctx, func() (bool, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.inHand[w] == 0, nil
	})
}

// Join has the controllers visit a worker, too.
func (o *Observation) Join(w *Worker) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.visited = append(slices.Clone(o.visited), w)
}

func (o *Observation) login(ctx context.Context, c *controller, w *Worker) error {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	pair, err := c.pair(ctx)
	if err != nil {
		return err
	}
	err = logIn(ctx, w, pair)
	if !o.fleet.options.readAgain || !errors.Is(err, sshclient.ErrAuth) {
		return err
	}
	again, rerr := c.readAgain(ctx)
	if rerr != nil || again.PublicKey() == pair.PublicKey() {
		return errors.Join(err, rerr)
	}
	if err = logIn(ctx, w, again); err == nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.logins.ReadAgain++
	}
	return err
}

// logIn logs in and runs a command.
func logIn(ctx context.Context, w *Worker, pair keypair.Pair) error {
	client, err := sshclient.Dial(ctx, w.Target(), pair.Signer())
	if err != nil {
		return fmt.Errorf("logging in with %s: %w", pair.Fingerprint(), err)
	}
	defer client.Close()
	out, err := client.Run(ctx, "true")
	if err == nil && out.ExitStatus != 0 {
		err = fmt.Errorf("exit status %d: %.200q", out.ExitStatus, out.Stderr)
	}
	if err != nil {
		return fmt.Errorf("running a command: %w", err)
	}
	return nil
}

func (o *Observation) record(ctx context.Context, c *controller, w *Worker, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inHand[w]--
	if err != nil && (ctx.Err() != nil || o.fleet.alive.Err() != nil) {
		return
	}
	o.rounds[c.name]++
	o.logins.Tried++
	if err == nil {
		return
	}
	o.logins.Failed++
	if len(o.logins.Failures) < keptFailures {
		o.logins.Failures = append(slices.Clip(o.logins.Failures),
			LoginFailure{Controller: c.name, Worker: w.Name, After: time.Since(o.fleet.began), Err: err})
	}
}

// controller is one who logs in to workers.
type controller struct {
	name string
	read func(context.Context) (keypair.Pair, error)
	keep time.Duration // how long a pair is used without asking again

	mu     sync.Mutex
	cached keypair.Pair
	asked  time.Time
}

// pair gives the cached pair, or reads it. The age counts from before the reading.
func (c *controller) pair(ctx context.Context) (keypair.Pair, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.cached.IsZero() && time.Since(c.asked) < c.keep {
		return c.cached, nil
	}
	asked := time.Now()
	pair, err := c.read(ctx)
	if err != nil {
		return keypair.Pair{}, err
	}
	c.cached, c.asked = pair, asked
	return pair, nil
}

// readAgain forgets the cached pair, and reads it.
func (c *controller) readAgain(ctx context.Context) (keypair.Pair, error) {
	c.mu.Lock()
	c.cached = keypair.Pair{}
	c.mu.Unlock()
	return c.pair(ctx)
}
