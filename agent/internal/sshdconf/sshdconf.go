// Package sshdconf finds out what the machine's sshd would do with a user's log-in, as far as its configuration,
// the account and the file system tell: which files it reads keys from, what it would object to, and whether
// its answer to somebody on this machine is also its answer to a controller elsewhere.
//
// It changes nothing. It takes sshd's word for the configuration (sshd -T -C), follows OpenSSH's own rules for
// patterns, owners and modes, and does not promise to see everything: PAM modules, SELinux and TCP wrappers
// are beyond it, and so is an sshd that runs with another configuration file than the one given here.
//
// It runs sshd and getent, by absolute path, without a shell, with fixed arguments, a deadline and a bound on
// what is read of their output.
package sshdconf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ErrUnavailable is wrapped by the error when sshd does not tell its configuration: it is not installed, this
// program may not read the host keys, or the configuration has a fault.
var ErrUnavailable = errors.New("sshd's configuration is not to be had")

// timeout bounds one run of sshd -T or getent, which take some 20 ms. A directory server may be slow.
const timeout = 10 * time.Second

// Config says which sshd to look at.
type Config struct {
	Program string // sshd's absolute path; empty means /usr/sbin/sshd
	File    string // its configuration file; empty means sshd's own default
	Address string // host:port where it listens, for Match LocalAddress and LocalPort
}

// Inspector looks at one sshd. It is safe for concurrent use.
type Inspector struct {
	config Config
	getent string
	etc    string // where nologin and debian_version are
}

// New makes an Inspector. It looks at nothing yet.
func New(config Config) *Inspector {
	if config.Program == "" {
		config.Program = "/usr/sbin/sshd"
	}
	return &Inspector{config: config, getent: "/usr/bin/getent", etc: "/etc"}
}

// Settings asks sshd for the configuration of a connection of user from the IP address source. Errors wrap
// ErrUnavailable or are those of ctx.
func (i *Inspector) Settings(ctx context.Context, user, source string) (Settings, error) {
	spec, err := i.connection(user, source)
	if err != nil {
		return Settings{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	args := []string{"-T", "-C", spec}
	if i.config.File != "" {
		args = append(args, "-f", i.config.File)
	}
	output, err := run(ctx, i.config.Program, args...)
	if ctx.Err() != nil {
		return Settings{}, fmt.Errorf("asking sshd for its configuration: %w", ctx.Err())
	}
	if err != nil {
		return Settings{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return parseSettings(output), nil
}

// connection is the argument of -C. Every criterion is given, since sshd refuses to answer when a Match line
// asks for one that is not. sshd has no way to write a comma or a blank.
func (i *Inspector) connection(user, source string) (string, error) {
	if user == "" || strings.ContainsFunc(user, func(r rune) bool { return r <= ' ' || r == ',' || r == 0x7f }) {
		return "", fmt.Errorf("user name %q cannot be put to sshd", user)
	}
	from, err := netip.ParseAddr(source)
	if err != nil {
		return "", fmt.Errorf("reading a source address: %w", err)
	}
	host, port, err := net.SplitHostPort(i.config.Address)
	if err != nil {
		return "", fmt.Errorf("reading sshd's address: %w", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("reading the port of sshd's address: %w", err)
	}
	local, err := netip.ParseAddr(host)
	if err != nil {
		local = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	// sshd resolves no names unless UseDNS is on: the host is then the address.
	return fmt.Sprintf("user=%s,host=%s,addr=%s,laddr=%s,lport=%s", user, from, from, local, port), nil
}
