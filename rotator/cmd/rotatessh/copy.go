package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient"
)

type copyFlags struct {
	inventoryFlags
	recursive bool
}

func newCopy(g *globals) *cobra.Command {
	var f copyFlags
	c := &cobra.Command{
		Use:   "copy [-r] SRC... USER@HOST:PATH",
		Short: "Copy files to a worker with the current key",
		Long: `Copy uploads files by SFTP. HOST is a worker's instance id, its private address or its
name, and [ARN] where those are another's, too. The rotator says who the workers are, to
whoever may invoke its function; others reach the running instances with a tag in one
region. The private key comes from the key-pair secret and stays in memory; the host key
must be one that the worker has acknowledged. If the worker refuses the current key, the
previous one is tried once.

PATH is relative to the user's home. A file is replaced only when all of it has arrived
and has been read back with the same SHA-256.`,
		Example: `  rotatessh copy job.tar.gz ec2-user@i-0123456789abcdef0:/tmp/
  rotatessh copy -r conf data ec2-user@worker-7:
  rotatessh copy --tag RotateSSHKeys=True job.tar.gz ec2-user@worker-7:/tmp/`,
		Args: usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(c *cobra.Command, args []string) error { return hintAWS(g.copy(c, f, args)) },
	}
	c.Flags().BoolVarP(&f.recursive, "recursive", "r", false, "copy folders with everything in them")
	f.register(c)
	return c
}

func (g *globals) copy(c *cobra.Command, f copyFlags, args []string) error {
	ctx, last := c.Context(), len(args)-1
	to, err := parseDestination(args[last])
	if err != nil {
		return err
	}
	sources, err := sshclient.LocalSources(args[:last], f.recursive)
	if err != nil {
		return hintSources(err, args[:last])
	}
	b, err := g.open(c, f.inventoryFlags)
	if err != nil {
		return err
	}
	target, err := b.target(ctx, to)
	if err != nil {
		return err
	}
	client, err := b.logIn(ctx, target)
	if err != nil {
		return hintSSH(err, to)
	}
	defer client.Close()
	bars := newBars(c.ErrOrStderr())
	done, err := client.Upload(ctx, sources, to.path, bars.progress)
	bars.end()
	for _, u := range done {
		fmt.Fprintf(c.OutOrStdout(), "%s -> %s:%s  %d bytes  sha256 %s\n", printable(u.Source), target.Name, printable(u.Remote), u.Bytes, u.SHA256)
	}
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted: files that are not listed have not been changed")
	}
	return hintSSH(err, to)
}

// logIn connects with AWSCURRENT's key, and if the worker refuses that, with AWSPREVIOUS's: a worker that
// was stopped during the rotation still has the old one. Only a refusal leads to a second try, so that the
// worker sees at most one wrong key.
func (b *backend) logIn(ctx context.Context, t sshclient.Target) (*sshclient.Client, error) {
	pair, err := b.pair(ctx, labelCurrent)
	if err != nil {
		return nil, err
	}
	client, refused := sshclient.Dial(ctx, t, pair.Signer())
	if refused == nil || !errors.Is(refused, sshclient.ErrAuth) {
		return client, refused
	}
	old, err := b.pair(ctx, labelPrevious)
	if errors.Is(err, errNoPair) {
		return nil, refused
	}
	if err != nil {
		return nil, errors.Join(refused, err)
	}
	b.log.Warn("worker refuses the current key, trying the previous one", logging.Worker(t.Name), logging.Fingerprint(pair.Fingerprint()))
	if client, err = sshclient.Dial(ctx, t, old.Signer()); err != nil {
		return nil, fmt.Errorf("%w; the previous key: %w", refused, err)
	}
	return client, nil
}

// hintSources explains a source that cannot be copied.
func hintSources(err error, paths []string) error {
	if errors.Is(err, fs.ErrNotExist) {
		for _, path := range paths {
			if _, remote := parseDestination(path); remote == nil {
				return withHint(usageError{err}, "only the last argument can be on a worker")
			}
		}
		return err
	}
	if errors.Is(err, sshclient.ErrFolder) {
		return withHint(usageError{err}, "folders are copied with -r")
	}
	return err
}

// hintSSH adds what to do about an error of a log-in.
func hintSSH(err error, to destination) error {
	switch sshclient.PhaseOf(err) {
	case sshclient.PhaseDial:
		return withHint(err, "is %s running, and does its security group let this machine in?", to.host)
	case sshclient.PhaseHandshake:
		return withHint(err, "sshd may be overloaded, or may be penalising this machine for failed log-ins: try again in a minute")
	case sshclient.PhaseHostKey:
		return withHint(err, "if the worker's host keys have changed, its agent acknowledges the new ones with its next pass; otherwise somebody else answers at this address")
	case sshclient.PhaseAuth:
		return withHint(err, "is %q an account that the worker's agent manages? see \"rotatessh status\"", to.user)
	}
	return err
}
