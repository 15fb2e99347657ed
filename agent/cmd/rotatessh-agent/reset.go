package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/common/logging"
)

// takenWithin is how long a running agent is given to obey: the longest regular pass waits half a minute for AWS.
const takenWithin = 45 * time.Second

const warnReset = `The next keyset that can be read will be followed, however old it is: keys that were retired could come back with it.
Make sure first that the keyset secret holds what you want.`

// resetGeneration makes the agent forget the generations it has seen. A running one is told, and has obeyed when this returns.
func resetGeneration(ctx context.Context, opts options) error {
	cfg, err := load(opts)
	if err != nil {
		return err
	}
	instance, seen, err := state.Remembered(cfg.StateDir)
	if err != nil {
		return err
	}
	if len(seen) == 0 {
		return printReset(opts, resetShown{Forgotten: map[string]state.Seen{}})
	}
	printSeen(opts.stderr, seen)
	if err := confirm(opts, os.Stdin, "reset", warnReset); err != nil {
		return err
	}
	shown := resetShown{Forgotten: seen, By: operator()}
	order := state.Reset{By: shown.By, At: time.Now().UTC(), Forget: seen}
	release, err := state.Lock(cfg.StateDir)
	switch {
	case errors.Is(err, state.ErrLocked):
		shown.Running = true
		err = tellAgent(ctx, cfg.StateDir, order)
	case err == nil:
		err = forget(cfg.StateDir, instance, order)
		release()
	}
	if err != nil {
		return err
	}
	return errors.Join(recordReset(opts.stderr, shown), printReset(opts, shown))
}

// printSeen says what there is to forget.
func printSeen(out io.Writer, seen map[string]state.Seen) {
	for _, arn := range slices.Sorted(maps.Keys(seen)) {
		fmt.Fprintf(out, "keyset %s: generation %d, digest %s\n", arn, seen[arn].Generation, seen[arn].Digest)
	}
}

// tellAgent leaves the order to the running agent and waits until it is carried out.
func tellAgent(ctx context.Context, dir string, order state.Reset) error {
	if err := state.OrderReset(dir, order); err != nil {
		return err
	}
	for deadline := time.Now().Add(takenWithin); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(state.ResetPath(dir)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return &hinted{errors.New("the running agent has not obeyed yet"), "it will at its next pass: systemctl reload rotatessh-agent, and look at its log"}
}

// forget carries the order out in the place of an agent. The state folder is locked.
func forget(dir, instance string, order state.Reset) error {
	memory, err := state.OpenMemory(dir, instance)
	if err != nil {
		return err
	}
	if err := state.OrderReset(dir, order); err != nil {
		return err
	}
	_, _, err = memory.Take()
	return err
}

// recordReset logs one line, and leaves it in the journal where no agent has.
func recordReset(stderr io.Writer, r resetShown) error {
	log, err := logging.New(stderr, "info")
	if err != nil {
		return err
	}
	arns := slices.Sorted(maps.Keys(r.Forgotten))
	var generations []int64
	var digests []string
	for _, arn := range arns {
		generations, digests = append(generations, r.Forgotten[arn].Generation), append(digests, r.Forgotten[arn].Digest)
	}
	log.Warn("generations forgotten", zap.Strings("secret_ids", arns), zap.Int64s("generations", generations), zap.Strings("digests", digests),
		zap.String("by", r.By), zap.Bool("running", r.Running))
	if !r.Running {
		tellJournal(fmt.Sprintf("generations forgotten: keysets %q, generations %d, digests %q, by %s", arns, generations, digests, r.By))
	}
	return nil
}

// resetShown is what the command has done.
type resetShown struct {
	Forgotten map[string]state.Seen `json:"forgotten"` // by the keyset secret's ARN
	By        string                `json:"by,omitempty"`
	Running   bool                  `json:"running"` // it was a running agent that forgot
}

func printReset(opts options, r resetShown) error {
	if opts.json {
		return printJSON(opts.stdout, r)
	}
	text := "forgotten: the next pass of an agent follows whatever keyset it reads\n"
	switch {
	case len(r.Forgotten) == 0:
		text = "no generation is remembered: there is nothing to forget\n"
	case r.Running:
		text = "forgotten: the running agent reads the keyset again; rotatessh-agent status shows what it follows\n"
	}
	_, err := io.WriteString(opts.stdout, text)
	return err
}
