package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/rotator/internal/operator"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
	"github.com/rotatessh/rotatessh/rotator/internal/report"
)

// registerForce is for the commands that are refused if they would lock the controller out.
func (f *operateFlags) registerForce(c *cobra.Command) {
	c.Flags().BoolVar(&f.force, "force", false, "go on even if that locks the controller out of workers; needs --reason")
}

// checkForce is called before anything is asked of AWS.
func (f operateFlags) checkForce() error {
	if f.force && f.reason == "" {
		return usagef("--force needs --reason: it is what reports and logs will say")
	}
	return nil
}

// cost says what a forced request may cost, as well as this command can know it. What it cannot read is no
// reason not to go on: the rotator looks again, and records whom it gives up.
func (b *backend) cost(ctx context.Context, req operator.Request) string {
	seen, err := b.overview(ctx, "", defaultRecords)
	if err != nil {
		return fmt.Sprintf("FORCED: workers that are not ready are lost to the controller. Which ones is not known: %v", err)
	}
	var lost []string
	for _, row := range seen.Workers {
		if req.Request == operator.Abort || row.State != report.Ready && row.State != report.Booting {
			lost = append(lost, fmt.Sprintf("%s (%s)", row.ID, printable(row.State)))
		}
	}
	is := plural.Verb(len(lost), "is", "are")
	what := is + " not ready at the moment, and lost to the controller without accepting the new key by the switch"
	if req.Request == operator.Abort {
		what = is + " lost to the controller if it has no other key than the one that is given up"
	}
	if len(lost) == 0 {
		return fmt.Sprintf("FORCED: %s, all ready as far as can be seen; none would be lost.", plural.Of(len(seen.Workers), "worker"))
	}
	const named = 20
	more := ""
	if n := len(lost) - named; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("FORCED: %s %s: %s%s", plural.Share(len(lost), len(seen.Workers), "worker"), what, strings.Join(lost[:min(named, len(lost))], ", "), more)
}
