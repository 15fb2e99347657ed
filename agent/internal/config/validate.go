package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/agent/internal/authkeys"
	"github.com/rotatessh/rotatessh/common/ledger"
)

const (
	// A poll more often than this costs money and finds nothing sooner that the subscription does not.
	minInterval = time.Second
	// An acknowledgement expires after seven days; a worker that is silent for longer than one is no worker.
	maxInterval = 24 * time.Hour
)

var (
	// fingerprint is what ssh-keygen -l prints.
	fingerprint = regexp.MustCompile(`^SHA256:[A-Za-z0-9+/]{43}$`)
	// queuePrefix leaves room for an instance id in the 80 characters of a queue name.
	queuePrefix = regexp.MustCompile(`^[A-Za-z0-9_-]{1,60}$`)
	topicName   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)
)

// Validate reports everything that is wrong with c, joined, or nil.
func (c Config) Validate() error {
	var f faults
	f.require("keysetSecret", c.KeysetSecret)
	f.require("ledgerTable", c.LedgerTable)
	f.check(filepath.IsAbs(c.StateDir), "stateDir %q is not an absolute path", c.StateDir)
	switch c.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		f.add("logLevel %q is not one of debug, info, warn, error", c.LogLevel)
	}
	f.users(c.Users)
	for _, p := range c.Protect {
		f.check(fingerprint.MatchString(p), "protect %q is not a fingerprint as ssh-keygen -l prints it (SHA256:…)", p)
	}
	f.check(c.Worker.ARN == "" || ledger.ValidWorker(c.Worker.ARN), "worker.arn %q is not the ARN of an EC2 instance", c.Worker.ARN)
	f.sshd(c.SSHD)
	f.interval("beacon.interval", c.Beacon.Interval)
	f.interval("fullCheck.interval", c.FullCheck.Interval)
	f.check(topicName.MatchString(c.Subscription.Topic), "subscription.topic %q is not the name of an SNS topic", c.Subscription.Topic)
	f.check(queuePrefix.MatchString(c.Subscription.QueuePrefix), "subscription.queuePrefix %q cannot begin the name of an SQS queue", c.Subscription.QueuePrefix)
	f.check(c.Metrics.Address == "" || isLoopback(c.Metrics.Address),
		"metrics.address %q is not of the form 127.0.0.1:port or [::1]:port: metrics are for this machine alone", c.Metrics.Address)
	return errors.Join(f.all...)
}

// faults collects what is wrong.
type faults struct{ all []error }

func (f *faults) add(format string, args ...any) { f.all = append(f.all, fmt.Errorf(format, args...)) }

func (f *faults) check(ok bool, format string, args ...any) {
	if !ok {
		f.add(format, args...)
	}
}

func (f *faults) require(key, value string) { f.check(value != "", "%s is empty", key) }

func (f *faults) interval(key string, d time.Duration) {
	f.check(d >= minInterval && d <= maxInterval, "%s %s is not between %s and %s", key, d, minInterval, maxInterval)
}

func (f *faults) users(users []User) {
	f.check(len(users) > 0, "users is empty: there is nothing to manage")
	seen := make(map[string]bool)
	for _, u := range users {
		f.check(isName(u.Name), "user name %q is not one", u.Name)
		f.check(!seen[u.Name], "user %q is listed twice", u.Name)
		seen[u.Name] = true
		if err := checkPattern(u.File); err != nil {
			f.add("user %q: file %q %w", u.Name, u.File, err)
		}
		if err := authkeys.ValidateOptions(u.Options); err != nil {
			f.add("user %q: options: %w", u.Name, err)
		}
	}
}

func (f *faults) sshd(s SSHD) {
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil || host == "" || !isPort(port) {
		f.add("sshd.address %q is not of the form host:port", s.Address)
	}
	if _, err := filepath.Match(s.HostKeys, ""); err != nil || s.HostKeys == "" {
		f.add("sshd.hostKeys %q is not a pattern of file names", s.HostKeys)
	}
	f.check(s.Port >= 0 && s.Port <= 65535, "sshd.port %d is not a port", s.Port)
	f.check(filepath.IsAbs(s.Program), "sshd.program %q is not an absolute path", s.Program)
	f.check(s.ConfigFile == "" || filepath.IsAbs(s.ConfigFile), "sshd.configFile %q is not an absolute path", s.ConfigFile)
	for _, c := range s.Controllers {
		_, err := netip.ParseAddr(c)
		f.check(err == nil, "sshd.controllers %q is not an IP address", c)
	}
}

// isLoopback reports whether nobody but this machine can connect to the address. A name could lead anywhere.
func isLoopback(address string) bool {
	at, err := netip.ParseAddrPort(address)
	return err == nil && at.Addr().IsLoopback() && at.Port() != 0
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 0 && n < 65536
}

// isName reports whether s can be a user name at all. Directories allow far more than useradd.
func isName(s string) bool {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(":/,", r) }
	return s != "" && s[0] != '-' && !strings.ContainsFunc(s, bad)
}

// checkPattern refuses tokens that sshd knows and we do not, so that the file we write is the file that sshd reads.
func checkPattern(pattern string) error {
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' {
			continue
		}
		i++
		if i == len(pattern) || !strings.ContainsRune("uh%", rune(pattern[i])) {
			return errors.New("has a token other than %u, %h and %%")
		}
	}
	return nil
}

// Expand gives the absolute path of u's file for an account with that home, by the rules of sshd's AuthorizedKeysFile. The result
// is clean.
func (u User) Expand(home string) string {
	pattern := u.File
	if pattern == "" {
		pattern = ".ssh/authorized_keys"
	}
	path := strings.NewReplacer("%%", "%", "%u", u.Name, "%h", home).Replace(pattern)
	if !filepath.IsAbs(path) {
		path = filepath.Join(home, path)
	}
	return filepath.Clean(path)
}

// Personal reports whether u's pattern gives another file for another account. One that does not may be a file that sshd reads for
// all of them.
func (u User) Personal() bool {
	if u.File == "" || !filepath.IsAbs(u.File) && !strings.HasPrefix(u.File, "%h") {
		return true
	}
	plain := strings.ReplaceAll(u.File, "%%", "")
	return strings.Contains(plain, "%u") || strings.Contains(plain, "%h")
}

// ListenPort is the port where the controller reaches sshd.
func (s SSHD) ListenPort() int {
	if s.Port != 0 {
		return s.Port
	}
	_, port, _ := net.SplitHostPort(s.Address)
	n, _ := strconv.Atoi(port)
	return n
}
