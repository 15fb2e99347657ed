//go:build docs

package main

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// docs gives the command that writes the manual pages of all others. Only the build of packages has it.
func docs() []*cobra.Command {
	var date string
	c := &cobra.Command{
		Use:    "docs FOLDER",
		Short:  "Write the manual pages",
		Hidden: true,
		Args:   usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			day, err := time.Parse(time.DateOnly, date)
			if err != nil {
				return err
			}
			c.Root().DisableAutoGenTag = true
			return doc.GenManTree(c.Root(), &doc.GenManHeader{Section: "1", Source: "RotateSSH", Manual: "RotateSSH", Date: &day}, args[0])
		},
	}
	c.Flags().StringVar(&date, "date", time.Now().Format(time.DateOnly), "the pages' `date`")
	return []*cobra.Command{c}
}
