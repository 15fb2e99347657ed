package sshclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// maxOutput bounds what Run keeps of each of the command's two outputs.
const maxOutput = 1 << 20

// Output is what a command printed and how it ended.
type Output struct {
	Stdout, Stderr string // at most 1 MiB each, the rest is dropped
	ExitStatus     int
}

// Run runs cmd through the user's login shell, with empty standard input, and waits for its end. A command
// that exits with another status than 0 is no error: look at ExitStatus. One that is ended by a signal, or
// whose connection breaks, is an *Error. When ctx ends first, the connection is closed and the error is the
// context's; without a deadline in ctx a command may run for as long as the server answers.
func (c *Client) Run(ctx context.Context, cmd string) (Output, error) {
	var stdout, stderr capped
	session, err := c.start(ctx, cmd, &stdout, &stderr)
	if err != nil {
		return Output{}, err
	}
	defer session.Close()
	var exit *ssh.ExitError
	err = c.within(ctx, PhaseCommand, session.Wait)
	out := Output{Stdout: stdout.kept.String(), Stderr: stderr.kept.String()}
	if errors.As(err, &exit) && exit.Signal() == "" {
		out.ExitStatus = exit.ExitStatus()
		return out, nil
	}
	return out, err
}

// start opens a session and starts cmd in it.
func (c *Client) start(ctx context.Context, cmd string, stdout, stderr *capped) (*ssh.Session, error) {
	ctx, cancel := c.channelLimit(ctx)
	defer cancel()
	var session *ssh.Session
	err := c.within(ctx, PhaseSession, func() (err error) {
		if session, err = c.ssh.NewSession(); err != nil {
			return fmt.Errorf("opening a session: %w", err)
		}
		session.Stdout, session.Stderr = stdout, stderr
		if err := session.Start(cmd); err != nil {
			session.Close()
			return fmt.Errorf("starting the command: %w", err)
		}
		return nil
	})
	return session, err
}

func (c *Client) channelLimit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, c.limits.channel, fmt.Errorf("no answer to a channel request within %v: %w", c.limits.channel, context.DeadlineExceeded))
}

// capped keeps the first maxOutput bytes and swallows the rest, so that the command is not held up. The buffer is not embedded: its ReadFrom would be found by io.Copy and go past the limit.
type capped struct{ kept bytes.Buffer }

// Write never fails.
func (w *capped) Write(p []byte) (int, error) {
	w.kept.Write(p[:min(len(p), maxOutput-w.kept.Len())])
	return len(p), nil
}
