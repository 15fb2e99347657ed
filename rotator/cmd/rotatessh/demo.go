package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/rotator/internal/demo"
)

type demoFlags struct {
	options    demo.Options
	json, keep bool
	scenario   string
}

func newDemo() *cobra.Command {
	f := demoFlags{options: demo.DefaultOptions()}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Rotate the key of a fleet of real sshd's on this machine",
		Long: `Demo starts a local AWS endpoint, the rotator, and workers that each have their own
OpenSSH server and agent. It makes a first key pair and rotates it while two controllers
log in to all workers all the time, copies a file with the new key, and proves by real
log-ins that the new key is accepted and the old one refused.

It needs no AWS account, no root and no running sshd, and leaves nothing behind.
The exit status is 0 only if every figure is as it should be.

With --scenario it shows instead what happens when something goes wrong, step by step and
on the same real parts, and exits with 0 only if what was observed is what was expected.`,
		Example: `  rotatessh demo
  rotatessh demo --scenario list
  rotatessh demo --scenario silent-worker
  rotatessh demo --workers 10 --json
  rotatessh demo --keep      # then, elsewhere: aws --endpoint-url … secretsmanager list-secrets`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.scenario != "" {
				return runScenario(c, f)
			}
			return runDemo(c, f)
		},
	}
	c.Flags().IntVar(&f.options.Workers, "workers", f.options.Workers, "`number` of workers")
	c.Flags().IntVar(&f.options.Rotations, "rotations", f.options.Rotations, "`number` of rotations, at least 2")
	c.Flags().StringVar(&f.options.KeyType, "key-type", "", "`type` of the keys: ed25519, rsa-3072, rsa-4096, ecdsa-p256 (default: ed25519)")
	c.Flags().DurationVar(&f.options.RetireAfter, "retire-after", f.options.RetireAfter, "how long the old key is still accepted after the switch")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object on standard output, progress on standard error")
	c.Flags().BoolVar(&f.keep, "keep", false, "stay up afterwards and say how to reach the AWS endpoint, until Ctrl-C")
	c.Flags().StringVar(&f.scenario, "scenario", "", "`name` of what is to happen: "+scenarioNames()+"; or list")
	return c
}

func runDemo(c *cobra.Command, f demoFlags) error {
	if err := f.options.Validate(); err != nil {
		return withHint(usageError{err}, "run %q", c.CommandPath()+" --help")
	}
	var err error
	if f.options.Binaries, err = besideMe(); err != nil {
		return hintDemo(err)
	}
	// A large fleet on a small machine takes its time.
	f.options.Patience += time.Duration(f.options.Workers) * time.Second
	// A terminal that is closed must end the demo as Ctrl-C does.
	ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGHUP)
	defer stop()
	view := newDemoView(c.OutOrStdout(), c.ErrOrStderr(), f.json)
	err = demo.Run(ctx, f.options, f.keep, view)
	view.end()
	var logged *demo.LoggedError
	if errors.As(err, &logged) && ctx.Err() == nil {
		view.logs(logged.Logs)
	}
	return hintDemo(interrupted(ctx, err))
}

// interrupted replaces what went wrong because of Ctrl-C by the fact.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// besideMe finds the demo's programs in this program's own folder, where make build puts all three.
func besideMe() (demo.Binaries, error) {
	self, err := os.Executable()
	if err != nil {
		return demo.Binaries{}, fmt.Errorf("finding this program's folder: %w", err)
	}
	return demo.FindBinaries(filepath.Dir(self))
}

// hintDemo adds what the person at the keyboard can do.
func hintDemo(err error) error {
	var missing *demo.MissingError
	var folder *demo.FolderError
	var locked *demo.LockedError
	switch {
	case errors.As(err, &locked):
		return withHint(err, "run the demo as another user: it needs no root")
	case errors.As(err, &missing):
		return withHint(err, "run \"make build\", which puts all programs into one folder")
	case errors.As(err, &folder):
		return withHint(err, "sshd refuses keys below such a folder; set XDG_STATE_HOME to one below which only you can write")
	case errors.Is(err, demo.ErrNoSSHD):
		return withHint(err, "\"make demo\" brings one along; or install openssh-server, or name one by ROTATESSH_SSHD")
	}
	return err
}
