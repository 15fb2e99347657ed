package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/rotator/internal/operator"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

func newRevoke(g *globals) *cobra.Command {
	var f operateFlags
	c := &cobra.Command{
		Use:   "revoke",
		Short: "Replace a key that may be stolen, and refuse the old one at once",
		Long: `Revoke lets the rotator replace the current key by a new one and retire every other key
at once: the current one, one that is still retiring, and that of a rotation that is
pending, which is given up. Workers accept the new key before the switch. None of the
revoked keys ever comes back, neither by a rollback nor by a label.

A controller that goes on with the old key from memory is locked out by intention: let
it read the secret again. Sessions that are open stay open: end them where it matters.

Workers have two minutes to accept the new key, or a minute more than ROTATESSH_PUSH_AFTER
where the rotator pushes to silent ones. Those that do not accept it would be lost: revoke
then stops before the switch and names them. Bring them back and type revoke again, or
give up exactly those by --accept-lockout with their number. A worker that is given up
accepts the old key and no other until its agent is back; isolate it until then.

--force is for a fleet of which nobody is ready or too many are gone, and for log-in
probes that fail: the controller may then be locked out everywhere. It needs a reason.

Revoke may be repeated after any failure, and goes on where it was. "abort" gives up one
that is pending.`,
		Example: `  rotatessh revoke --reason "INC-1234: laptop stolen"
  rotatessh revoke --accept-lockout=2 --reason "INC-1234" --yes
  rotatessh revoke --force --accept-lockout=3 --reason "INC-1234: whole rack is off"`,
		Args: usageArgs(noArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.lockout < 0 {
				return usagef("--accept-lockout is %d and must not be negative", f.lockout)
			}
			return hintAWS(g.operate(c, f, f.planRevoke))
		},
	}
	f.register(c)
	f.registerForce(c)
	c.Flags().IntVar(&f.lockout, "accept-lockout", 0, "the exact `number` of workers that may lose access")
	return c
}

func (f operateFlags) planRevoke(s secretInfo, now time.Time) (operator.Request, string, error) {
	current, pending := s.holder(labelCurrent), s.pending()
	req := operator.Request{Request: operator.Revoke, VersionID: pending, CurrentVersionID: current, AcceptLockout: f.lockout}
	var tell strings.Builder
	fmt.Fprintf(&tell, "The key of %s version %s, made %s, will be revoked, and with it every other key that workers accept.\n", s.Name, current, s.made(current, now))
	switch {
	case strings.HasPrefix(pending, operator.RevocationPrefix):
		fmt.Fprintf(&tell, "That goes on with version %s, pending since %s.\n", pending, s.made(pending, now))
	case pending != "":
		fmt.Fprintf(&tell, "The rotation to version %s, pending since %s, will be given up.\n", pending, s.made(pending, now))
		fallthrough
	default:
		id, err := revocationID()
		if err != nil {
			return operator.Request{}, "", err
		}
		req.VersionID = id
	}
	fmt.Fprint(&tell, "Workers have two minutes to accept the new key, or longer where they are pushed to. A controller that has the old key in memory is locked out until it reads the secret again.")
	if f.lockout > 0 {
		fmt.Fprintf(&tell, "\nIf exactly %s %s not accept the new key, access to %s is lost, and the old one is accepted there until the agent is back.", plural.Of(f.lockout, "worker"), plural.Verb(f.lockout, "does", "do"), plural.Verb(f.lockout, "it", "them"))
	}
	return req, tell.String(), nil
}

// revocationID makes up the version id of a new revocation.
func revocationID() (string, error) {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return "", fmt.Errorf("making up a version id: %w", err)
	}
	return operator.RevocationPrefix + hex.EncodeToString(id), nil
}
