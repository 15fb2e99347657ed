package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// newRoot gives the command tree. Each command is made by one constructor; nothing is shared between two
// trees.
func newRoot() *cobra.Command {
	var g globals
	root := &cobra.Command{
		Use:   "rotatessh",
		Short: "Rotate a cluster's SSH key pair without locking anyone out",
		Long: `Rotatessh rotates the SSH key pair of a cluster through AWS Secrets Manager and
shows which workers are ready for the new key, accept it, and refuse the old one.`,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          helpOrUnknown,

		SuggestionsMinimumDistance: 2,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return withHint(usageError{err}, "run %q", c.CommandPath()+" --help")
	})
	g.register(root.PersistentFlags())
	root.AddCommand(
		newRotate(&g),
		newStatus(&g),
		newReport(&g),
		newAbort(&g),
		newResume(&g),
		newRollback(&g),
		newRevoke(&g),
		newWaive(&g),
		newUnwaive(&g),
		newCopy(&g),
		newDemo(),
		newGuardian(),
		newVersion(),
	)
	root.AddCommand(docs()...)
	return root
}

// helpOrUnknown runs when no subcommand was named.
func helpOrUnknown(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	err := usagef("unknown command %q", args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return withHint(err, "did you mean %q?", c.Name()+" "+strings.Join(near, " or "))
	}
	return withHint(err, "run %q", c.Name()+" --help")
}

// usageArgs makes a mistake in the number of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return withHint(usageError{err}, "usage: %s", c.UseLine())
		}
		return nil
	}
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}
