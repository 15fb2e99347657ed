package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/report"
)

// viewFlags are those of the commands that show the fleet.
type viewFlags struct {
	inventoryFlags
	user      string
	json      bool
	selection report.Selection
	follow    followFlags
}

func (f *viewFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object, with --watch one a line for each change")
	f.inventoryFlags.register(c)
	c.Flags().StringVar(&f.user, "user", "", "`account` that workers must manage to be ready (default: any)")
	c.Flags().StringVar(&f.selection.State, "state", "", "list only workers in this `state`: ready, booting, waived, pushed, failed or a code such as silent")
	c.Flags().IntVar(&f.selection.Limit, "limit", 50, "list at most so `many` workers, 0 for all; JSON has all unless this is given")
	f.follow.register(c)
	states := []string{report.Ready, report.Booting, "waived", "pushed", "failed", fleet.CodeSilent, fleet.CodeBehind, fleet.CodeRefused, fleet.CodeUnverified, fleet.CodeIncomplete, fleet.CodeNoUser}
	// It fails for a flag that does not exist, only.
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp))
}

// validate also lets JSON have all workers unless the operator wants fewer.
func (f *viewFlags) validate(c *cobra.Command) error {
	if f.selection.Limit < 0 {
		return usagef("--limit is %d and must not be negative", f.selection.Limit)
	}
	if f.json && !c.Flags().Changed("limit") {
		f.selection.Limit = 0
	}
	return f.follow.validate(c)
}

func newStatus(g *globals) *cobra.Command {
	var f viewFlags
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the rotation's state and what each worker has acknowledged",
		Long: `Status shows the labels of the key-pair secret, the keyset in force, and for each
running worker whether it is ready for the key that is used next, whether its sshd
accepts that key, and whether its sshd refuses the key that was replaced last. Workers
that need attention come first. It reads no private key.

Who the workers are is the rotator's answer, by its settings: in all their regions and
accounts. That takes the right to invoke its function. Without it, and with --tag, status
looks for running instances with a tag in one region, and says so; in JSON, "inventory"
is "rotator" or "tag". A list of workers serves --watch for 30 seconds or longer.

With --watch it follows the rotation that is under way until nothing of it is left to
do: no key is pending, the old key's time is over, and every worker that counts has
acknowledged that it accepts the new key and refuses the old one. The exit status is 0
then, and 1 when a step fails (AWS repeats it: --keep-going watches on), when the
rotation is given up, or at the --timeout.`,
		Example: `  rotatessh status
  rotatessh status --state silent --limit 0
  rotatessh status --watch --timeout 2h
  rotatessh status --tag RotateSSHKeys=True --region eu-west-1
  rotatessh status --json | jq '.workers[] | select(.state != "ready")'`,
		Args: usageArgs(noArgs),
		RunE: func(c *cobra.Command, _ []string) error { return hintAWS(g.status(c, f)) },
	}
	f.register(c)
	return c
}

func (g *globals) status(c *cobra.Command, f viewFlags) error {
	if err := f.validate(c); err != nil {
		return err
	}
	b, err := g.open(c, f.inventoryFlags)
	if err != nil {
		return err
	}
	look := func(ctx context.Context) (report.Report, error) { return b.overview(ctx, f.user, defaultRecords) }
	if f.follow.watch {
		var show shower = newProgressView(c.OutOrStdout())
		if f.json {
			show = &jsonView{w: c.OutOrStdout(), selection: f.selection}
		}
		return f.follow.run(c.Context(), look, show)
	}
	r, err := look(c.Context())
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(c.OutOrStdout(), r.Only(f.selection))
	}
	return r.WriteStatus(c.OutOrStdout(), f.selection)
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
