package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// defaultTag is the rotator's default.
const defaultTag = "RotateSSHKeys=True"

type statusFlags struct {
	tag, user string
	json      bool
}

func newStatus(g *globals) *cobra.Command {
	var f statusFlags
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the rotation's state and what each worker has acknowledged",
		Long: `Status shows the labels of the key-pair secret, the keyset in force, and for each
running worker whether it is ready for the key that is used next, whether its sshd
accepts that key, and whether its sshd refuses the key that was replaced last.
It reads no private key.`,
		Example: `  rotatessh status
  rotatessh status --json | jq '.workers[] | select(.state != "ready")'`,
		Args: usageArgs(noArgs),
		RunE: func(c *cobra.Command, _ []string) error { return hintAWS(g.status(c, f)) },
	}
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object")
	c.Flags().StringVar(&f.tag, "tag", defaultTag, "`NAME=VALUE` of the tag that workers bear")
	c.Flags().StringVar(&f.user, "user", "", "`account` that workers must manage to be ready (default: any)")
	return c
}

func (g *globals) status(c *cobra.Command, f statusFlags) error {
	b, err := g.open(c, f.tag)
	if err != nil {
		return err
	}
	o, err := b.overview(c.Context(), f.user)
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(c.OutOrStdout(), o)
	}
	return o.print(c.OutOrStdout())
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// print writes o as text for people; JSON is for programs.
func (o overview) print(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "secret\t%s\n", o.Secret.ARN)
	fmt.Fprintf(out, "rotation\t%s\n", o.rotationLine())
	fmt.Fprintf(out, "keyset\t%s\n", o.keysetLine())
	if len(o.Reports) > 0 {
		r := o.Reports[0]
		fmt.Fprintf(out, "last report\t%s %s %s: %s\n", r.Phase, map[bool]string{true: "passed", false: "failed"}[r.Passed], age(o.At, r.At), printable(r.Message))
	}
	fmt.Fprintf(out, "workers\t%s\n", o.summaryLine())
	for _, waiver := range o.Waivers {
		fmt.Fprintf(out, "waived\t%s, ends %s, by %s: %s\n", waiver.Worker, due(o.At, waiver.Until), printable(waiver.Actor), printable(waiver.Reason))
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := o.printKeys(w); err != nil {
		return err
	}
	return o.printWorkers(w)
}

func (o overview) rotationLine() string {
	switch r := o.Rotation; {
	case r.State == "failing":
		return fmt.Sprintf("failing, started %s, AWS will retry: %s", age(o.At, r.Since), printable(r.Message))
	case r.State != "idle":
		return fmt.Sprintf("in progress, started %s: version %s", age(o.At, r.Since), r.VersionID)
	case !o.Secret.RotationEnabled:
		return "idle, automatic rotation is off; last rotated " + age(o.At, o.Secret.LastRotated)
	case o.Secret.NextRotation.IsZero():
		return "idle; last rotated " + age(o.At, o.Secret.LastRotated)
	}
	return fmt.Sprintf("idle; last rotated %s, next %s", age(o.At, o.Secret.LastRotated), due(o.At, o.Secret.NextRotation))
}

func (o overview) keysetLine() string {
	if o.Keyset == nil {
		return "nothing has been published yet"
	}
	line := fmt.Sprintf("generation %d, %s", o.Keyset.Generation, o.Keyset.Phase)
	if !o.Keyset.PublishedAt.IsZero() {
		line += ", published " + age(o.At, o.Keyset.PublishedAt)
	}
	return line
}

func (o overview) summaryLine() string {
	s := o.Summary
	var line strings.Builder
	fmt.Fprintf(&line, "%d of %d ready", s.Ready, s.Workers)
	for _, state := range slices.Sorted(maps.Keys(s.NotReady)) {
		fmt.Fprintf(&line, ", %d %s", s.NotReady[state], printable(state))
	}
	switch {
	case o.OldKey == nil:
	case !o.OldKey.NotAfter.IsZero():
		line.WriteString("; old key ends " + due(o.At, o.OldKey.NotAfter))
	default:
		fmt.Fprintf(&line, "; old key refused by %d", s.OldKeyRefused)
	}
	return line.String()
}

func (o overview) printKeys(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(out, "\nKEY\tLABELS\tSTATE\tVERSION\tAGE\n")
	for _, v := range o.Secret.Versions {
		state := dash(v.State)
		if !v.NotAfter.IsZero() {
			state += ", ends " + due(o.At, v.NotAfter)
		}
		made := "-"
		if !v.Created.IsZero() {
			made = short(o.At.Sub(v.Created))
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", dash(v.Fingerprint), strings.Join(v.Labels, " "), state, v.ID, made)
	}
	return out.Flush()
}

func (o overview) printWorkers(w io.Writer) error {
	if len(o.Workers) == 0 {
		_, err := fmt.Fprintln(w, "\nno running instance bears the workers' tag")
		return err
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(out, "\nWORKER\tNAME\tADDRESS\tSTATE\tACCEPTED\tOLD KEY\tAGENT\tREPORTED\tMESSAGE\n")
	for _, r := range o.Workers {
		old := map[string]string{"yes": "refused", "no": "ACCEPTED", "unknown": "unknown", "not-yet": "retiring"}[r.OldKeyRefused]
		reported := "-"
		if !r.ReportedAt.IsZero() {
			reported = age(o.At, r.ReportedAt)
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, dash(printable(r.Name)), dash(r.Address), printable(r.State), dash(printable(r.Accepted)),
			dash(old), dash(printable(r.AgentVersion)), reported, printable(r.Message))
	}
	return out.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// printable replaces control characters: workers write parts of this text, and a terminal obeys some.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
