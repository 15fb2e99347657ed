package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/rotatessh/rotatessh/agent/internal/userfile/faults"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
)

// runFaults runs the matrix of faults against the agent.
func runFaults(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	short := flags.Bool("short", false, "leave out the rows that others stand for")
	runs := flags.Int("runs", 1, "how often each row is run")
	program, err := parse(flags, args)
	if err != nil {
		return err
	}
	dir, err := faults.Dir("/var/tmp")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // sshd reads the files as their owner
		return err
	}
	runner := func(context.Context, *faults.Site, *faults.Trace) (string, error) {
		return "", fmt.Errorf("%w: %s", faults.ErrNotRun, lacks())
	}
	if lacks() == "" {
		p, err := newPatient(ctx, program)
		if err != nil {
			return err
		}
		defer p.close()
		runner = p.once
	}
	total, err := faults.Run(ctx, faults.Options{Dir: dir, Runs: *runs, Short: *short, Out: stdout}, runner)
	if err == nil && !total.OK() {
		err = fmt.Errorf("%d rows reported something else than they should, and %s", total.Wrong, total)
	}
	return err
}

// patient is the agent that faults befall.
type patient struct {
	cloud   *cloud
	machine *machine
}

func newPatient(ctx context.Context, program string) (*patient, error) {
	c, err := newCloud(ctx)
	if err != nil {
		return nil, err
	}
	p := &patient{cloud: c}
	if p.machine, err = newMachine(program, c.env(), "logLevel: error"); err != nil {
		return nil, errors.Join(err, p.close())
	}
	key, err := newKey(keyset.Current, 1)
	if err == nil {
		err = c.publish(ctx, 1, key)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *patient) close() error {
	var err error
	if p.machine != nil {
		err = p.machine.close()
	}
	return errors.Join(err, p.cloud.server.Close())
}

// patience bounds one pass. Some calls that an injection hits by mistake leave the agent waiting for what never comes.
const patience = 15 * time.Second

// once is a faults.Runner: one pass of the agent. What it reports is what it acknowledges, and its exit status has to agree.
func (p *patient) once(ctx context.Context, s *faults.Site, trace *faults.Trace) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.machine.setHome(s.Home); err != nil {
		return "", err
	}
	before, err := p.cloud.ack(ctx)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, p.machine.program, "once", "--config", p.machine.config)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.machine.env, &out, &out
	failure := p.run(ctx, cmd, trace)
	after, err := p.cloud.ack(context.WithoutCancel(ctx))
	if err != nil {
		return "", err
	}
	if after.Pass <= before.Pass {
		return "", fmt.Errorf("the agent acknowledged nothing: %w: %s", failure, out.Bytes())
	}
	if (failure == nil) != (after.Outcome == ledger.Applied) {
		return "", fmt.Errorf("acknowledged %s %s, but ended with %w: %s", after.Outcome, after.Code, failure, out.Bytes())
	}
	return reported(after), nil
}

// run runs the agent and traces it from when it asks for the keyset: what comes next is the writer's work, and its calls are the first
// ones that count.
func (p *patient) run(ctx context.Context, cmd *exec.Cmd, trace *faults.Trace) error {
	if trace == nil {
		return cmd.Run()
	}
	asking, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	defer p.cloud.server.OnCall(localaws.Fault{Action: "GetSecretValue", Before: func(localaws.Call) error {
		once.Do(func() { close(asking) })
		<-goOn
		return nil
	}})()
	release := sync.OnceFunc(func() { close(goOn) })
	defer release()
	if err := cmd.Start(); err != nil {
		return err
	}
	select {
	case <-asking:
	case <-ctx.Done():
		return errors.Join(ctx.Err(), cmd.Wait())
	}
	tracer, err := attach(ctx, cmd.Process.Pid, trace)
	release()
	err = errors.Join(err, cmd.Wait())
	if tracer != nil {
		err = errors.Join(err, tracer.Wait())
	}
	return err
}

// attach starts the tracer of a running process and waits until it has all threads.
func attach(ctx context.Context, pid int, trace *faults.Trace) (*exec.Cmd, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(threads))
	for _, t := range threads {
		ids = append(ids, filepath.Base(t))
	}
	argv := trace.Attach(ids)
	tracer := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if err := tracer.Start(); err != nil {
		return nil, err
	}
	for _, t := range threads {
		for !traced(t) && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}
	return tracer, ctx.Err()
}

// traced reports whether a thread has a tracer; one that has ended needs none.
func traced(thread string) bool {
	status, err := os.ReadFile(filepath.Join(thread, "status"))
	return err != nil || !bytes.Contains(status, []byte("TracerPid:\t0\n"))
}

// reported is an acknowledgement in the words of the matrix.
func reported(a ledger.Ack) string {
	if a.Outcome != ledger.Applied {
		return a.Code
	}
	for _, k := range a.Users[0].Keys {
		if k.Accepted != ledger.Yes {
			return "applied, but sshd says " + string(k.Accepted) + " " + k.Why
		}
	}
	return faults.Applied
}
