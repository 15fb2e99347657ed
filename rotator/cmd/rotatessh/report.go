package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/common/ledger"
)

// history is what report prints as JSON.
type history struct {
	At        time.Time       `json:"at"`
	SecretARN string          `json:"secretArn"`
	Waivers   []ledger.Waiver `json:"waivers"`
	Reports   []ledger.Report `json:"reports"` // the newest first
}

func newReport(g *globals) *cobra.Command {
	var asJSON bool
	var limit int32
	c := &cobra.Command{
		Use:   "report",
		Short: "Show how the last rotations went",
		Long: `Report shows the records that the rotator has left of each step and of each request by
an operator, the newest first: how many workers were ready, which were not and why,
which were waived, and the waivers that are in force now. It reads no private key.`,
		Example: `  rotatessh report
  rotatessh report --limit 100 --json | jq '.reports[] | select(.passed | not)'`,
		Args: usageArgs(noArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 1 || limit > 1000 {
				return usagef("--limit is %d and must be from 1 to 1000", limit)
			}
			return hintAWS(g.report(c, limit, asJSON))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().Int32Var(&limit, "limit", 20, "how `many` records")
	return c
}

func (g *globals) report(c *cobra.Command, limit int32, asJSON bool) error {
	ctx := c.Context()
	b, err := g.open(c, defaultTag)
	if err != nil {
		return err
	}
	secret, err := b.describe(ctx)
	if err != nil {
		return err
	}
	h := history{At: b.now(), SecretARN: secret.ARN}
	if h.Reports, err = b.ledger.Reports(ctx, secret.ARN, limit); err != nil {
		return err
	}
	newestFirst(h.Reports)
	if h.Waivers, err = b.ledger.Waivers(ctx, secret.ARN, h.At); err != nil {
		return err
	}
	if asJSON {
		return printJSON(c.OutOrStdout(), h)
	}
	return h.print(c.OutOrStdout())
}

func (h history) print(w io.Writer) error {
	if len(h.Reports) == 0 {
		fmt.Fprintln(w, "no rotation has left a record yet")
	}
	for _, waiver := range h.Waivers {
		fmt.Fprintf(w, "waived: %s, ends %s, by %s: %s\n", waiver.Worker, due(h.At, waiver.Until), printable(waiver.Actor), printable(waiver.Reason))
	}
	for _, r := range h.Reports {
		if err := h.printReport(w, r); err != nil {
			return err
		}
	}
	return nil
}

func (h history) printReport(w io.Writer, r ledger.Report) error {
	fmt.Fprintf(w, "%s %s %s, generation %d, version %s: %s\n", age(h.At, r.At), r.Phase, map[bool]string{true: "passed", false: "failed"}[r.Passed],
		r.Generation, dash(r.VersionID), printable(r.Message))
	if r.Asked != "" {
		fmt.Fprintf(w, "  asked for by %s\n", printable(r.Asked))
	}
	if r.Expected > 0 {
		fmt.Fprintf(w, "  %d of %d workers ready, %d tried by logging in%s\n", r.Ready, r.Expected, r.Probed, reasons(r.Reasons))
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range slices.Concat(r.Laggards, r.Waived) {
		fmt.Fprintf(out, "  %s\t%s\t%s\n", ledger.InstanceID(l.Worker), printable(l.Code), printable(l.Message))
	}
	return out.Flush()
}

// reasons lists how many workers there were for each code.
func reasons(counts map[string]int) string {
	var s strings.Builder
	for _, code := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&s, ", %d %s", counts[code], printable(code))
	}
	return s.String()
}
