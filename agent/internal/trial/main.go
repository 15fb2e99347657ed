// Trial puts the agent's program, as it is shipped, to the test.
//
//	trial faults [-short] [-runs N] AGENT
//	trial idle [-for 10m] AGENT
//	trial soak [-for 15m] AGENT
//
// Faults puts it into trouble of every kind on real file systems and looks at what is left of authorized_keys. Idle
// measures what it takes while nothing happens, and soak whether anything is left after much has. AWS is an endpoint in
// this process and sshd a real one. As root everything happens on a private machine, which ends with this process.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
)

const usage = `usage: trial faults [-short] [-runs N] AGENT
       trial idle [-for 10m] AGENT
       trial soak [-for 15m] AGENT
`

func main() {
	// Children die with the thread that started them; this one lives as long as the program.
	runtime.LockOSThread()
	os.Exit(sshdtest.OnMachine(func() int { return run(os.Args[1:], os.Stdout, os.Stderr) }))
}

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	trials := map[string]func(context.Context, []string, io.Writer) error{"faults": runFaults, "idle": runIdle, "soak": runSoak}
	if len(args) == 0 || trials[args[0]] == nil {
		fmt.Fprint(stderr, usage)
		return 2
	}
	if err := trials[args[0]](ctx, args[1:], stdout); err != nil {
		fmt.Fprintf(stderr, "trial: error: %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

// parse reads a trial's flags and gives the agent's program.
func parse(flags *flag.FlagSet, args []string) (program string, err error) {
	if err := flags.Parse(args); err != nil {
		return "", err
	}
	if flags.NArg() != 1 {
		return "", fmt.Errorf("one program is needed, not %d", flags.NArg())
	}
	return flags.Arg(0), nil
}
