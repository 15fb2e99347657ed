// Rotatessh-agent runs on every worker. It keeps the authorized_keys files of the configured users at what the published keyset asks
// for, proves it by the machine's own sshd, and acknowledges it.
//
// It never sees a private key.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program; its result is the exit status: 0 for success, 1 for a failure, 2 for a wrong command line. The first
// interrupt ends the context, so that the pass in hand is finished; the second one ends the process.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	cmd, opts, err := parse(args, stdout)
	if err != nil {
		return fail(stderr, err)
	}
	opts.stdout, opts.stderr = stdout, stderr
	if err := cmd(ctx, opts); err != nil {
		return fail(stderr, err)
	}
	return 0
}
