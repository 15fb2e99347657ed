package main

import (
	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/rotator/internal/demo"
)

// newGuardian gives the process that cleans up after a demo that can no longer do so itself.
func newGuardian() *cobra.Command {
	return &cobra.Command{
		Use:    demo.GuardianCommand + " FOLDER",
		Short:  "Clean up after a demo (started by the demo itself)",
		Hidden: true,
		Args:   usageArgs(cobra.ExactArgs(1)),
		RunE:   func(_ *cobra.Command, args []string) error { return demo.Guard(args[0]) },
	}
}
