package sshclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Target is a server and how to recognise it.
type Target struct {
	Name     string // what errors call it, such as an instance id; Address when empty
	Address  string // IP address or host name
	Port     int    // 22 when 0
	User     string
	HostKeys []ssh.PublicKey // the server must prove one of these
}

func (t Target) hostPort() string {
	port := t.Port
	if port == 0 {
		port = 22
	}
	return net.JoinHostPort(t.Address, strconv.Itoa(port))
}

// limits bound the waits that the caller's context does not.
type limits struct {
	dial       time.Duration // TCP connection
	handshake  time.Duration // from there to the end of authentication
	channel    time.Duration // opening a channel and starting what runs in it
	keepalive  time.Duration // between two keepalive requests
	unanswered time.Duration // until a keepalive request without an answer ends the connection
	stall      time.Duration // without a byte of progress in a transfer
	grace      time.Duration // for removing an unfinished upload after the context has ended
}

func defaults() limits {
	return limits{
		dial:       10 * time.Second,
		handshake:  20 * time.Second,
		channel:    15 * time.Second,
		keepalive:  15 * time.Second,
		unanswered: 15 * time.Second,
		stall:      2 * time.Minute,
		grace:      5 * time.Second,
	}
}

// Client is an authenticated connection. It is safe for concurrent use.
type Client struct {
	ssh    *ssh.Client
	raw    net.Conn
	target Target
	limits limits
	// life ends with the connection; its cause says why.
	life context.Context
	end  context.CancelCauseFunc
}

// errClosed is the cause of a connection that was closed by its user.
var errClosed = errors.New("the connection was closed")

// Dial connects to t, checks its host key and logs in with the given key, which is the only one offered.
// It returns within ctx and within limits of its own, whatever the server does. Every error is an *Error;
// its Phase says how far the connection came, and ErrAuth is in its chain only as documented there. The
// caller closes the Client.
func Dial(ctx context.Context, t Target, key ssh.Signer) (*Client, error) {
	return dial(ctx, t, key, defaults())
}

func dial(ctx context.Context, t Target, key ssh.Signer, l limits) (*Client, error) {
	if t.Name == "" {
		t.Name = t.Address
	}
	offered := pinned(t.HostKeys).algorithms()
	if len(offered) == 0 {
		return nil, &Error{PhaseHostKey, t.Name, errors.New("no host key is known for it")}
	}
	raw, err := (&net.Dialer{Timeout: l.dial}).DialContext(ctx, "tcp", t.hostPort())
	if err != nil {
		return nil, &Error{PhaseDial, t.Name, because(ctx, err)}
	}
	raw = QuickAck(raw)
	conn, err := logIn(ctx, raw, t, key, l.handshake)
	if err != nil {
		raw.Close()
		return nil, err
	}
	c := &Client{ssh: conn, raw: raw, target: t, limits: l}
	c.life, c.end = context.WithCancelCause(context.Background())
	go c.keepAlive()
	return c, nil
}

// logIn does the handshake and the authentication on raw.
func logIn(ctx context.Context, raw net.Conn, t Target, key ssh.Signer, limit time.Duration) (*ssh.Client, error) {
	if err := raw.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, &Error{PhaseHandshake, t.Name, err}
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	a := attempt{key: key, pinned: t.HostKeys}
	conn, channels, requests, err := ssh.NewClientConn(raw, t.hostPort(), a.config(t.User))
	if err == nil && !a.offered {
		err = errors.New("the server asked for no key")
	}
	inTime := stop()
	if err == nil {
		err = raw.SetDeadline(time.Time{})
	}
	if err != nil || !inTime {
		return nil, &Error{a.phase(err), t.Name, because(ctx, a.explain(err))}
	}
	return ssh.NewClient(conn, channels, requests), nil
}

// because puts the end of ctx, if it has ended, in front of the error that it led to.
func because(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

// attempt follows one log-in, to tell afterwards how far it came.
type attempt struct {
	key     ssh.Signer
	pinned  pinned
	proved  atomic.Bool // the host key is proved and pinned; set from the transport's goroutine
	offered bool        // the key was offered
	partial bool        // the key was accepted, and the server wants something else as well
}

func (a *attempt) config(user string) *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User:              user,
		ClientVersion:     "SSH-2.0-RotateSSH",
		HostKeyAlgorithms: a.pinned.algorithms(),
		HostKeyCallback: func(host string, remote net.Addr, key ssh.PublicKey) error {
			err := a.pinned.check(host, remote, key)
			a.proved.Store(err == nil)
			return err
		},
		AuthCallback: a.next,
	}
}

// next chooses the authentication method: the key, once, if the server takes keys at all.
func (a *attempt) next(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	a.partial = len(c.PartialSuccessMethods) > 0
	if a.offered || !slices.Contains(c.AllowedMethods, "publickey") {
		return nil, nil
	}
	a.offered = true
	return ssh.PublicKeys(a.key), nil
}

func (a *attempt) phase(err error) Phase {
	switch {
	case notPinned(err):
		return PhaseHostKey
	case a.proved.Load():
		return PhaseAuth
	}
	return PhaseHandshake
}

// explain tells a refusal from every other failure.
func (a *attempt) explain(err error) error {
	switch {
	case err == nil || !a.proved.Load():
		return err
	case a.partial:
		return errors.New("the server accepted the key but asks for a further authentication method")
	case refused(err, a.offered):
		return fmt.Errorf("%w: %w", ErrAuth, err)
	}
	return err
}

// refused knows a refusal by its text, since x/crypto has no type for it. The first text is what it says
// after the server's last SSH_MSG_USERAUTH_FAILURE; had the connection broken instead, it would return
// that error. The second is sshd's own when MaxAuthTries is 1; only our one key can have caused it.
func refused(err error, offered bool) bool {
	text := err.Error()
	return strings.Contains(text, "ssh: unable to authenticate, attempted methods") ||
		offered && strings.Contains(text, "Too many authentication failures")
}

// ServerVersion is the server's identification, such as "SSH-2.0-OpenSSH_9.2p1".
func (c *Client) ServerVersion() string { return string(c.ssh.ServerVersion()) }

// Close ends the connection and everything that runs on it. It does not wait for the server.
func (c *Client) Close() error {
	c.end(errClosed)
	return c.raw.Close()
}

// keepAlive ends the connection when the server stops answering: TCP alone would notice a vanished host
// only after many minutes, and never while nothing is sent.
func (c *Client) keepAlive() {
	tick := time.NewTicker(c.limits.keepalive)
	defer tick.Stop()
	for {
		select {
		case <-c.life.Done():
			return
		case <-tick.C:
		}
		timer := time.AfterFunc(c.limits.unanswered, func() {
			c.fail(fmt.Errorf("the server has not answered for %v", c.limits.unanswered))
		})
		_, _, err := c.ssh.SendRequest("keepalive@openssh.com", true, nil)
		timer.Stop()
		if err != nil {
			return
		}
	}
}

// fail closes the connection for a reason, which the operations that this breaks report.
func (c *Client) fail(why error) {
	c.end(why)
	c.raw.Close()
}

// within runs f and returns its error, named by phase. If ctx ends first the connection is closed, which
// makes f return.
func (c *Client) within(ctx context.Context, phase Phase, f func() error) error {
	stop := context.AfterFunc(ctx, func() { c.fail(context.Cause(ctx)) })
	err := f()
	stop()
	if err == nil {
		return nil
	}
	if why := context.Cause(c.life); why != nil {
		err = why
	}
	return &Error{phase, c.target.Name, err}
}
