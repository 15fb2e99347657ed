package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// What an idle agent may take. The time is for ten minutes.
const (
	maxBinary    = 15 << 20
	maxAnonymous = 12 << 20
	maxTotal     = 28 << 20
	maxCPU       = 600 * time.Millisecond
	idleFor      = 10 * time.Minute
)

// runIdle measures what the agent takes while nothing happens: TLS, all wake-up sources, a scrape a minute.
func runIdle(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("idle", flag.ContinueOnError)
	length := flags.Duration("for", idleFor, "how long to look; the bound for the time spent is in proportion")
	program, err := parse(flags, args)
	if err != nil {
		return err
	}
	file, err := os.Stat(program)
	if err != nil {
		return err
	}
	r, err := start(ctx, program)
	if err != nil {
		return err
	}
	defer r.close()
	before, after, err := r.idle(ctx, *length)
	if err != nil {
		return err
	}
	goroutines, err := scrape(ctx, r.metrics, "go_goroutines")
	if err != nil {
		return err
	}
	spent, allowed := after.cpu-before.cpu, time.Duration(float64(maxCPU)*float64(*length)/float64(idleFor))
	fmt.Fprintf(stdout, "idle for %s, over TLS, subscribed, scraped once a minute\n", *length)
	fmt.Fprintf(stdout, "%-18s %12s  at most %s\n", "program", mebibytes(file.Size()), mebibytes(maxBinary))
	fmt.Fprintf(stdout, "%-18s %12s  at most %s\n", "anonymous memory", mebibytes(after.anonymous), mebibytes(maxAnonymous))
	fmt.Fprintf(stdout, "%-18s %12s  at most %s\n", "resident memory", mebibytes(after.total), mebibytes(maxTotal))
	fmt.Fprintf(stdout, "%-18s %12s  at most %s\n", "processor", spent, allowed)
	fmt.Fprintf(stdout, "%-18s %12d\n%-18s %12.0f\n", "descriptors", after.descriptors, "goroutines", goroutines)
	if file.Size() > maxBinary || after.anonymous > maxAnonymous || after.total > maxTotal || spent > allowed {
		return errors.New("more than allowed")
	}
	return nil
}

// idle waits and scrapes, and gives what the agent takes at the beginning and at the end.
func (r *running) idle(ctx context.Context, length time.Duration) (before, after taken, err error) {
	if err := sleep(ctx, 2*time.Second); err != nil { // the rest of the start
		return before, after, err
	}
	if before, err = look(r.agent.Process.Pid); err != nil {
		return before, after, err
	}
	for end := time.Now().Add(length); time.Now().Before(end); {
		if err := sleep(ctx, min(time.Minute, time.Until(end))); err != nil {
			return before, after, err
		}
		if _, err := scrape(ctx, r.metrics, "rotatessh_agent_generation"); err != nil {
			return before, after, err
		}
	}
	after, err = look(r.agent.Process.Pid)
	return before, after, err
}
