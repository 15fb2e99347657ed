package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rotatessh/rotatessh/agent/internal/config"
	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// shown is what status prints: what the agent has written down, and what that is worth now.
type shown struct {
	keysync.Status
	Running string `json:"running"` // yes, no, or unknown to this user
	Healthy bool   `json:"healthy"`
	// WakeSources are what starts a pass, by the configuration.
	WakeSources []string `json:"wakeSources"`
}

// status shows what the running agent has written down. It is an error when that is not good or not recent.
func status(_ context.Context, opts options) error {
	cfg, err := load(opts)
	if err != nil {
		return err
	}
	var s shown
	err = state.ReadStatus(cfg.StateDir, &s.Status)
	if errors.Is(err, fs.ErrNotExist) {
		return &hinted{err, "no agent has finished a pass with this configuration: systemctl start rotatessh-agent"}
	}
	if err != nil {
		return err
	}
	s.Running = running(cfg.StateDir)
	s.WakeSources = wakeSources(cfg, s.Worker)
	s.Healthy = s.Status.Healthy(time.Now(), cfg.FullCheck.StaleAfter()) && s.Running != "no"
	if err := printShown(opts, s); err != nil {
		return err
	}
	if !s.Healthy {
		return fmt.Errorf("not healthy: %s", complaint(s))
	}
	return nil
}

// wakeSources says what wakes an agent with that configuration. SIGHUP does always.
func wakeSources(c config.Config, worker string) []string {
	list := []string{
		fmt.Sprintf("timer every %s", c.FullCheck.Interval),
		fmt.Sprintf("beacon every %s", c.Beacon.Interval),
		"changes of managed files",
	}
	if c.Subscription.Enabled {
		list = append(list, fmt.Sprintf("queue %s%s", c.Subscription.QueuePrefix, ledger.InstanceID(worker)))
	}
	return list
}

func running(dir string) string {
	locked, err := state.Locked(dir)
	switch {
	case err != nil:
		return "unknown"
	case locked:
		return "yes"
	}
	return "no"
}

func complaint(s shown) string {
	switch {
	case s.Running == "no":
		return "no agent is running"
	case s.Failures > 0:
		return s.LastError
	}
	return "the last success is too long ago"
}

func printShown(opts options, s shown) error {
	if opts.json {
		return printJSON(opts.stdout, s)
	}
	if err := printStatus(opts.stdout, s.Status); err != nil {
		return err
	}
	_, err := fmt.Fprintf(opts.stdout, "woken by      %s\nrunning       %s\n", strings.Join(s.WakeSources, ", "), s.Running)
	return err
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printStatus prints s for people.
func printStatus(out io.Writer, s keysync.Status) error {
	w := tabwriter.NewWriter(out, 14, 0, 1, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	row("worker", "%s", s.Worker)
	row("state", "%s", headline(s))
	if s.KeysetARN != "" {
		row("keyset", "%s version %s", s.KeysetARN, s.VersionID)
	}
	for _, u := range s.Users {
		row("user", "%s: %s", u.Name, u.File)
		if u.Message != "" {
			row("", "%s", u.Message)
		}
		for _, k := range u.Keys {
			row("", "%s %s, accepted: %s", k.State, k.Fingerprint, k.Accepted)
		}
	}
	row("last success", "%s", ago(s.LastSuccess))
	if s.LastError != "" {
		row("last error", "%s: %s", ago(s.LastErrorAt), s.LastError)
	}
	return w.Flush()
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%s ago (%s)", time.Since(t).Round(time.Second), t.Format(time.RFC3339))
}
