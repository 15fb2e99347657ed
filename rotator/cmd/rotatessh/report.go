package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/rotator/internal/report"
)

// historyRecords is how many of the rotator's records report reads: those of some twenty rotations.
const historyRecords = 100

type reportFlags struct {
	viewFlags
	history int32
	html    string
}

func newReport(g *globals) *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:   "report",
		Short: "Show the fleet, how fast it followed, and how the last rotations went",
		Long: `Report shows what status shows, how many workers there are for each reason to be not
ready, and the history: a line for each of the last rotations, the newest first, made of
the records that the rotator has left. It reads no private key. "rotatessh status --help"
says whom it lists.

A line of the history says when the rotation started; how it ended (switched, rolled
back, revoked, aborted and by whom, abandoned by Secrets Manager, refused, or failing) and
which steps failed how often; how many of the workers that count were ready at the switch;
within what time 99 % of them were; how many refuse the key that went out of use; how long
the rotation took up to the switch; and who asked for it and why, where that is on record.
With --history the records of each step and of each request by an operator stand below
each line: how many workers were ready, which were not and why, which were waived. JSON
has the lines in "history", and with --history the records in them, too.

Time to ready is, for a worker, the time of the acknowledgement by which it became ready
less the time at which the keyset with the new key was published; time to retired, that
of the acknowledgement by which its sshd refused the old key less the time at which that
key ended. p50 and p99 are nearest-rank percentiles over all workers that count: a dash
means that so many are not there yet. The times are AWS's as each machine knows it, good
to about a second.

With --html it writes one page that needs nothing else: no server, no network. It has a
chart of how the fleet followed, and its table of workers can be filtered and sorted. The
file is for its owner alone, since it names hosts.

With --watch the report is shown again at each change, until nothing of a rotation is
left to do; see "rotatessh status --help".`,
		Example: `  rotatessh report
  rotatessh report --state silent --limit 0
  rotatessh report --html report.html
  rotatessh report --watch
  rotatessh report --history
  rotatessh report --json | jq '.history[] | select(.outcome != "switched")'
  rotatessh report --history 300 --json | jq '.reports[] | select(.passed | not)'`,
		Args: usageArgs(f.takeCount),
		RunE: func(c *cobra.Command, _ []string) error { return hintAWS(g.report(c, f)) },
	}
	f.register(c)
	c.Flags().Int32Var(&f.history, "history", historyRecords, "show the rotator's records, of so `many` that are read")
	c.Flags().Lookup("history").NoOptDefVal = fmt.Sprint(historyRecords)
	c.Flags().StringVar(&f.html, "html", "", "write a page to this `file`, and nothing to standard output")
	return c
}

// takeCount lets --history stand alone and be followed by a number: a flag with a value that may be left out would
// want an equals sign.
func (f *reportFlags) takeCount(c *cobra.Command, args []string) error {
	if len(args) == 1 && c.Flags().Changed("history") {
		if c.Flags().Set("history", args[0]) == nil {
			return nil
		}
	}
	return noArgs(c, args)
}

func (g *globals) report(c *cobra.Command, f reportFlags) error {
	if err := f.validate(c); err != nil {
		return err
	}
	if f.history < 1 || f.history > 1000 {
		return usagef("--history is %d and must be from 1 to 1000", f.history)
	}
	if f.html != "" && (f.json || f.follow.watch) {
		return usagef("--html goes with neither --json nor --watch")
	}
	f.selection.Records = c.Flags().Changed("history")
	b, err := g.open(c, f.inventoryFlags)
	if err != nil {
		return err
	}
	look := func(ctx context.Context) (report.Report, error) { return b.overview(ctx, f.user, f.history) }
	if f.follow.watch {
		var show shower = newTextView(c.OutOrStdout(), f.selection)
		if f.json {
			show = &jsonView{w: c.OutOrStdout(), selection: f.selection}
		}
		return f.follow.run(c.Context(), look, show)
	}
	r, err := look(c.Context())
	if err != nil {
		return err
	}
	if f.html != "" {
		return writeFile(f.html, r.WriteHTML)
	}
	if f.json {
		return printJSON(c.OutOrStdout(), r.Only(f.selection))
	}
	return r.WriteText(c.OutOrStdout(), f.selection)
}
