package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

func newWaive(g *globals) *cobra.Command {
	var f operateFlags
	var lasts time.Duration
	c := &cobra.Command{
		Use:   "waive INSTANCE-ID",
		Short: "Let rotations go on without one worker for a while",
		Long: `Waive lets rotations go on without one worker for the given time, 30 days at most. While
it is not ready it does not count, and every report names it. The controller is locked
out of it after a switch that it did not take part in, until its agent is back.
One that is ready counts as ever. Waiving all workers does not open the gate.
"unwaive" ends it before its time.`,
		Example: `  rotatessh waive i-0123456789abcdef0 --for 24h --reason "dead disk, replaced tomorrow"`,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case !strings.HasPrefix(args[0], "i-"):
				return usagef("%q is not an instance id", args[0])
			case lasts <= 0 || lasts > operator.MaxWaiver:
				return usagef("--for is %v and must be positive and at most %v", lasts, operator.MaxWaiver)
			case f.reason == "":
				return usagef("--reason is missing: it is what reports and logs will say")
			}
			return hintAWS(g.operate(c, f, func(s secretInfo, now time.Time) (operator.Request, string, error) {
				until := now.Add(lasts).UTC().Truncate(time.Second)
				return operator.Request{Request: operator.Waive, Worker: args[0], Until: until}, fmt.Sprintf(
					"Rotations of %s will go on without %s until %s, even if that locks the controller out of it.", s.Name, args[0], until.Format(time.RFC3339)), nil
			}))
		},
	}
	f.register(c)
	c.Flags().DurationVar(&lasts, "for", 24*time.Hour, "for how `long`")
	return c
}

func newUnwaive(g *globals) *cobra.Command {
	var f operateFlags
	c := &cobra.Command{
		Use:   "unwaive INSTANCE-ID",
		Short: "Let a worker that was waived count again",
		Long:  `Unwaive ends the waiver of one worker. Rotations wait for it again.`,
		Example: `  rotatessh unwaive i-0123456789abcdef0
  rotatessh unwaive i-0123456789abcdef0 --reason "disk replaced" --yes`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if !strings.HasPrefix(args[0], "i-") {
				return usagef("%q is not an instance id", args[0])
			}
			return hintAWS(g.operate(c, f, func(s secretInfo, _ time.Time) (operator.Request, string, error) {
				return operator.Request{Request: operator.Unwaive, Worker: args[0]},
					fmt.Sprintf("Rotations of %s will wait for %s again.", s.Name, args[0]), nil
			}))
		},
	}
	f.register(c)
	return c
}
