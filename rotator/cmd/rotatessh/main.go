// Rotatessh is the operator's side of RotateSSH: it starts rotations, follows them, shows the state of the
// fleet and copies files to workers with the key that is current.
//
// Private keys are read from AWS Secrets Manager into memory and nowhere else.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/rotatessh/rotatessh/rotator/internal/harden"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program; its result is the exit status. The first interrupt ends the context of the
// command, so that it can clean up; the second one ends the process.
func run(args []string, stdout, stderr io.Writer) int {
	if err := harden.Process(); err != nil {
		return fail(stderr, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		return fail(stderr, err)
	}
	return 0
}
