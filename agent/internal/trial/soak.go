package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	soakFor = 15 * time.Minute
	// quiet is how long nothing goes wrong before a measurement, so that calls in hand and waits for the next try are over.
	quiet = 50 * time.Second
	// spell is how long each trouble lasts.
	spell = 4 * time.Second
	// maxGrowth is how much more anonymous memory the agent may take in the last fifth than in the second.
	maxGrowth = 1 << 20
	// maxConnections is how many connections an agent may keep for the next call.
	maxConnections = 4
)

// runSoak makes an agent whose intervals are a second live through every kind of trouble over and over, and looks whether anything
// is left of it.
func runSoak(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	length := flags.Duration("for", soakFor, "how long altogether")
	program, err := parse(flags, args)
	if err != nil {
		return err
	}
	r, err := start(ctx, program, "logLevel: error", "beacon: {interval: 1s}", "fullCheck: {interval: 1s}")
	if err != nil {
		return err
	}
	defer r.close()
	var spans [4]condition
	after, troubles := time.Duration(0), 0
	for i, span := range []time.Duration{*length / 5, *length / 5, *length * 2 / 5, *length / 5} {
		if spans[i], err = r.suffer(ctx, span); err != nil {
			return err
		}
		after, troubles = after+span, troubles+spans[i].troubles
		spans[i].print(stdout, after)
	}
	first, last := spans[1], spans[3] // before, it was starting
	growth := last.anonymous - first.anonymous
	fmt.Fprintf(stdout, "soak: troubles=%d anonymous=%+d descriptors=%+d goroutines=%+d\n",
		troubles, growth, last.descriptors-first.descriptors, last.goroutines-first.goroutines)
	if growth > maxGrowth || last.descriptors != first.descriptors || last.goroutines != first.goroutines || last.connections > maxConnections {
		return errors.New("the agent leaks")
	}
	return nil
}

// condition is how the agent is after a time of trouble. Its anonymous memory is the least that was seen in that time, since what
// the collector has not yet freed, or not yet given back, is no leak. Connections that are kept for the next call come and go;
// descriptors and goroutines are those beside them.
type condition struct {
	taken
	goroutines  int
	connections int
	troubles    int
	peak        int64
}

func (c condition) print(stdout io.Writer, after time.Duration) {
	fmt.Fprintf(stdout, "after %s: at least %s anonymous, %s resident (at most %s), %d connections, beside them %d descriptors and %d goroutines, %s processor, %d troubles\n", after,
		mebibytes(c.anonymous), mebibytes(c.total), mebibytes(c.peak), c.connections, c.descriptors, c.goroutines, c.cpu, c.troubles)
}

func (c *condition) remember(now taken) {
	if c.anonymous == 0 || now.anonymous < c.anonymous {
		c.anonymous = now.anonymous
	}
	c.total, c.cpu, c.peak = now.total, now.cpu, max(c.peak, now.total)
}

// suffer makes trouble, waits until it is forgotten, and measures, all of it in the given time.
func (r *running) suffer(ctx context.Context, length time.Duration) (c condition, err error) {
	end := time.Now().Add(length)
	r.front.turn(drop)
	err = r.endure(ctx, &c)
	for err == nil && time.Until(end) > quiet+5*spell {
		err = r.trouble(ctx, &c)
	}
	r.front.turn(r.front.serve)
	if err != nil {
		return c, err
	}
	if err := r.publish(ctx); err != nil {
		return c, err
	}
	if err := sleep(ctx, time.Until(end)-samples*time.Second); err != nil {
		return c, err
	}
	return c, r.examine(ctx, &c)
}

// trouble is one round: whatever may happen to AWS and to the disk, and a new keyset in the midst of it.
func (r *running) trouble(ctx context.Context, c *condition) error {
	over := make(chan struct{})
	end := sync.OnceFunc(func() { close(over) })
	defer end()
	for _, b := range []behaviour{drop, flood, hang(over)} {
		r.front.turn(r.front.sparing(b))
		if err := r.endure(ctx, c); err != nil {
			return err
		}
	}
	end()
	if err := errors.Join(r.readOnly(true), r.announce(ctx)); err != nil {
		return err
	}
	r.front.turn(r.front.serve)
	return errors.Join(r.endure(ctx, c), r.readOnly(false), r.publish(ctx))
}

// endure waits for a spell of trouble and watches the memory.
func (r *running) endure(ctx context.Context, c *condition) error {
	c.troubles++
	for range 4 {
		if err := sleep(ctx, spell/4); err != nil {
			return err
		}
		now, err := look(r.agent.Process.Pid)
		if err != nil {
			return err
		}
		c.remember(now)
		if _, err := scrape(ctx, r.metrics, "go_goroutines"); err != nil {
			return err
		}
	}
	return nil
}

// samples is how many looks a measurement takes, one a second: passes come and go meanwhile.
const samples = 21

// examine counts descriptors and goroutines, and takes what is seen most often: each pass needs more for a moment.
func (r *running) examine(ctx context.Context, c *condition) error {
	descriptors, goroutines := map[int]int{}, map[int]int{}
	for range samples {
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		connections := int(r.front.open.Load())
		now, err := look(r.agent.Process.Pid)
		if err != nil {
			return err
		}
		n, err := scrape(ctx, r.metrics, "go_goroutines")
		if err != nil {
			return err
		}
		c.remember(now)
		if c.connections = int(r.front.open.Load()); c.connections == connections {
			descriptors[now.descriptors-connections]++
			goroutines[int(n)-2*connections]++ // each has two
		}
	}
	c.descriptors, c.goroutines = commonest(descriptors), commonest(goroutines)
	return nil
}

// commonest is the value that was seen most often.
func commonest(seen map[int]int) (value int) {
	for v, n := range seen {
		if n > seen[value] {
			value = v
		}
	}
	return value
}
