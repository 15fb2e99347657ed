package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

func newAbort(g *globals) *cobra.Command {
	var f operateFlags
	c := &cobra.Command{
		Use:   "abort",
		Short: "Give up the rotation that is pending",
		Long: `Abort lets the rotator give up the rotation that is pending: it takes the label
AWSPENDING off its version. The controller goes on with the current key. Workers accept
the key that is given up until its time as a retiring one is over, in case somebody has
it already. Automatic rotation stays on.

Abort and the rotation's last step exclude each other: if the new key is current by
then, abort is refused. It may be repeated after any failure.

It is also refused if the current key pair cannot be read, since the pending one may be
the last that opens the workers. --force, with a reason, gives it up all the same.`,
		Example: `  rotatessh abort
  rotatessh abort --yes --reason "wrong key type" --json`,
		Args: usageArgs(noArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return hintAWS(g.operate(c, f, func(s secretInfo, now time.Time) (operator.Request, string, error) {
				pending := s.pending()
				if pending == "" {
					return operator.Request{}, "no rotation is pending, there is nothing to give up", nil
				}
				return operator.Request{Request: operator.Abort, VersionID: pending}, fmt.Sprintf(
					"The rotation of %s to version %s, pending since %s, will be given up.\n"+
						"Version %s stays current; workers accept the other key until its time as a retiring one is over.",
					s.Name, pending, s.made(pending, now), dash(s.holder(labelCurrent))), nil
			}))
		},
	}
	f.register(c)
	f.registerForce(c)
	return c
}

func newResume(g *globals) *cobra.Command {
	var f operateFlags
	c := &cobra.Command{
		Use:   "resume",
		Short: "Run the remaining steps of the rotation that is pending",
		Long: `Resume lets the rotator run the steps of the rotation that is pending, now. AWS does
the same at a time of its own choosing, and refuses to start another rotation until then.
Nothing is skipped: the new key becomes current only if the fleet is ready for it.
It works with automatic rotation switched off, too, and may be repeated after any failure.

With --force and a reason it switches even if workers are not ready, two minutes after
the new key's publication at the earliest. The controller loses those workers until their
agents are back; they are named in the log and the report.`,
		Example: `  rotatessh resume
  rotatessh resume --force --reason "INC-1234: rack 7 is off"
  rotatessh resume --yes --json`,
		Args: usageArgs(noArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return hintAWS(g.operate(c, f, func(s secretInfo, now time.Time) (operator.Request, string, error) {
				pending := s.pending()
				if pending == "" {
					return operator.Request{}, "no rotation is pending, there is nothing to resume", nil
				}
				return operator.Request{Request: operator.Resume, VersionID: pending}, fmt.Sprintf(
					"The rotation of %s to version %s, pending since %s, will go on, and switch to that version if the fleet is ready.",
					s.Name, pending, s.made(pending, now)), nil
			}))
		},
	}
	f.register(c)
	f.registerForce(c)
	return c
}

func newRollback(g *globals) *cobra.Command {
	var f operateFlags
	c := &cobra.Command{
		Use:   "rollback",
		Short: "Go back to the key that was replaced last",
		Long: `Rollback lets the rotator make the previous key, AWSPREVIOUS, the current one again. It
is a rotation to an old key: workers accept both first, the fleet must be ready and is
tried by logging in, and only then AWSCURRENT moves. The key that is replaced is
accepted until its time as a retiring one is over.

A rollback that does not get through its gate is a pending rotation: "resume" goes on
with it, and "abort" gives it up. A key that was revoked is not gone back to; a key that
somebody may have stolen is not to be either.

With --force and a reason it goes back even if workers are not ready, two minutes after
the key's publication at the earliest. The controller loses those workers until their
agents are back; they are named in the log and the report.`,
		Example: `  rotatessh rollback
  rotatessh rollback --force --reason "INC-1234: i-0123456789abcdef0 is gone"
  rotatessh rollback --yes --reason "INC-1234" --json`,
		Args: usageArgs(noArgs),
		RunE: func(c *cobra.Command, _ []string) error { return hintAWS(g.operate(c, f, planRollback)) },
	}
	f.register(c)
	f.registerForce(c)
	return c
}

func planRollback(s secretInfo, now time.Time) (operator.Request, string, error) {
	current, previous := s.holder(labelCurrent), s.holder(labelPrevious)
	if previous == "" {
		return operator.Request{}, "", fmt.Errorf("secret %q has no %s version to go back to", s.Name, labelPrevious)
	}
	if pending := s.pending(); pending != "" && pending != previous {
		return operator.Request{}, "", withHint(fmt.Errorf("a rotation of %q to version %s is pending", s.Name, pending),
			"finish it with \"rotatessh resume\" or give it up with \"rotatessh abort\" first")
	}
	return operator.Request{Request: operator.Rollback, VersionID: previous, CurrentVersionID: current}, fmt.Sprintf(
		"%s will go back from version %s to version %s, made %s, once every worker accepts that key.",
		s.Name, current, previous, s.made(previous, now)), nil
}

// made says how long ago a version was made.
func (s secretInfo) made(version string, now time.Time) string {
	for _, v := range s.Versions {
		if v.ID == version {
			return age(now, v.Created)
		}
	}
	return "never"
}
