// Package acceptance asks the machine's own sshd whether it would accept public keys for a user, without
// the private keys: it sends the publickey query of RFC 4252 section 7 and never signs.
//
// A "yes" says that sshd found the key for that user and that nothing which it checks at this point stands
// against it: path, owners and modes, the key's own options, the algorithm, AllowUsers. It does not say that
// a log-in would succeed: sshd answers yes too under PermitRootLogin no, before a second factor, for an
// account that PAM has locked, and for a key that only AuthorizedKeysCommand knows. Package sshdconf finds
// those. Nor does it speak for other source addresses than loopback.
//
// Caveat: sshd 9.8 and later punish an address from which many connections come that end without a log-in. On
// IPv4 loopback the questions come from changing addresses, which avoids that; with sshd on another address
// they cannot.
package acceptance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// DefaultTimeout bounds a whole Ask, from the connection attempt to the last answer.
const DefaultTimeout = 10 * time.Second

// clientVersion is what sshd's log shows of a query.
const clientVersion = "SSH-2.0-rotatessh-agent"

var (
	// ErrNotListening says that nothing listens at the address yet: it is worth asking again soon.
	ErrNotListening = errors.New("no sshd is listening")
	// ErrHostKey says that what answered does not hold one of this machine's host keys: it is not the sshd
	// that was meant, or it loads its keys from elsewhere.
	ErrHostKey = errors.New("unknown host key")

	errSilent = errors.New("sshd closed the connection before it said anything")
)

// Config says which sshd to ask.
type Config struct {
	Address      string        // host:port
	HostKeyFiles string        // glob of the sshd's public host key files
	Timeout      time.Duration // for one Ask; zero means DefaultTimeout
}

// Question is about one user. sshd counts every refusal as a failed log-in, so that keys which it is
// expected to accept are asked first, and at most one which it is expected to refuse.
type Question struct {
	User   string
	Accept []keyset.PublicKey // in this order
	Refuse keyset.PublicKey   // asked last; zero for none
}

// Answer is what sshd said about one key.
type Answer struct {
	Fingerprint string
	Accepted    ledger.Accepted
	Why         string // for Unverified, a sentence for people
}

// Result is what one connection brought to light.
type Result struct {
	Answers  []Answer // one for each key of the question, in the order of asking
	HostKeys []string // every public host key found in the files, "algorithm base64"
	Banner   string   // sshd's identification, "SSH-2.0-…"; empty if it sent none
	Port     int      // of Address
	Source   string   // the IP address from which sshd was asked; empty without a connection
}

// Asker asks one sshd. It is safe for concurrent use, but concurrent questions are concurrent connections,
// which sshd limits (MaxStartups).
type Asker struct {
	config  Config
	sources *sources
}

// New makes an Asker. It reads and connects to nothing.
func New(config Config) *Asker {
	if config.Timeout <= 0 {
		config.Timeout = DefaultTimeout
	}
	return &Asker{config: config, sources: newSources()}
}

// Ask puts the question over one connection and returns when every key has its answer, at the latest after
// the Timeout. The result always has an answer for each key and the host keys that could be read; an error
// means that sshd answered none of them. Errors include ErrNotListening, ErrHostKey and those of ctx.
func (a *Asker) Ask(ctx context.Context, q Question) (Result, error) {
	d := newDialogue(q)
	result := Result{}
	keys, err := readHostKeys(a.config.HostKeyFiles)
	if err == nil {
		result.HostKeys = describeHostKeys(keys)
		result.Port, err = port(a.config.Address)
	}
	if err == nil {
		err = a.converse(ctx, d, keys, &result)
	}
	result.Answers = d.answers(err)
	if slices.ContainsFunc(result.Answers, func(a Answer) bool { return a.Accepted != ledger.Unverified }) {
		return result, nil
	}
	return result, err
}

// converse connects and lets d put its questions. Where nobody listens to one of our own addresses, or sshd hangs
// up on it without a word, as TCP wrappers make it do, the machine's usual address is tried.
func (a *Asker) converse(ctx context.Context, d *dialogue, keys []ssh.PublicKey, result *Result) error {
	ctx, cancel := context.WithTimeout(ctx, a.config.Timeout)
	defer cancel()
	silent := false
	if source, ok := a.sources.own(a.config.Address); ok {
		if conn, err := dialFrom(ctx, source, a.config.Address); err == nil {
			err := a.converseOver(ctx, conn, d, keys, result)
			if silent = errors.Is(err, errSilent); !silent {
				return err
			}
		}
	}
	conn, err := dial(ctx, a.config.Address)
	if err != nil {
		return cmp.Or(a.interruption(ctx), err)
	}
	err = a.converseOver(ctx, conn, d, keys, result)
	if silent && result.Banner != "" {
		a.sources.unwelcome.Store(true)
	}
	return err
}

// converseOver lets d put its questions over raw, and hangs up. It returns nil when the conversation came to its
// end, whatever the answers, and notes in result what it learnt of the server.
func (a *Asker) converseOver(ctx context.Context, raw net.Conn, d *dialogue, keys []ssh.PublicKey, result *Result) error {
	defer raw.Close()
	// ssh's own Timeout ends with the TCP connection; a peer that stalls later would hold the agent for ever.
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()

	result.Source = sourceOf(raw)
	conn := &greetingConn{Conn: raw}
	pin := &hostKeyPin{known: keys, files: a.config.HostKeyFiles}
	client, _, _, err := ssh.NewClientConn(conn, a.config.Address, &ssh.ClientConfig{
		User:              d.user,
		ClientVersion:     clientVersion,
		HostKeyAlgorithms: hostKeyAlgorithms(keys),
		HostKeyCallback:   pin.check,
		AuthCallback:      d.next,
	})
	result.Banner = conn.banner()
	if err == nil {
		client.Close()
		return errors.New("sshd logs this user in without any key")
	}
	if d.finished(err) {
		return nil
	}
	return a.explain(ctx, err, pin, conn)
}

// explain puts the reason why a conversation ended early into words.
func (a *Asker) explain(ctx context.Context, err error, pin *hostKeyPin, conn *greetingConn) error {
	if pin.err != nil {
		return pin.err
	}
	if stopped := a.interruption(ctx); stopped != nil {
		return stopped
	}
	if refusal := conn.refusal(); refusal != "" {
		return fmt.Errorf("sshd turned the connection away, saying %q", refusal)
	}
	if conn.banner() == "" {
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	return fmt.Errorf("asking sshd: %w", err)
}

// interruption is the error of a conversation that ctx ended: what it breaks off reports something else.
func (a *Asker) interruption(ctx context.Context) error {
	switch err := ctx.Err(); {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("sshd did not answer within %v: %w", a.config.Timeout, err)
	default:
		return fmt.Errorf("asking sshd: %w", err)
	}
}

func port(address string) (int, error) {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0, fmt.Errorf("reading sshd's address: %w", err)
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("reading the port of sshd's address: %w", err)
	}
	return int(number), nil
}
