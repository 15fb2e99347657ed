// Package config is the agent's configuration: one file, read strictly. A key it does not know, a value it cannot use or a missing
// file is an error that says where; there is no guessing and no partial configuration. It looks at nothing but that file.
package config

import "time"

// Path is where the package puts the configuration.
const Path = "/etc/rotatessh/agent.yaml"

// Config is everything that can be configured. Default says what a missing key means. packaging/etc/agent.yaml explains each key
// to the operator.
type Config struct {
	// Region of the keyset secret and the ledger; empty means AWS_REGION, or else the instance's own.
	Region string `yaml:"region"`
	// KeysetSecret is the name or ARN of the secret that holds the public keys.
	KeysetSecret string `yaml:"keysetSecret"`
	// LedgerTable is the DynamoDB table for acknowledgements and the beacon.
	LedgerTable string `yaml:"ledgerTable"`
	// StateDir is a folder for the highest generation seen and for what status shows.
	StateDir string `yaml:"stateDir"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `yaml:"logLevel"`
	// Users are the accounts whose keys are managed.
	Users []User `yaml:"users"`
	// Protect lists fingerprints of keys outside the managed block that stay even when they are retired.
	Protect []string `yaml:"protect"`

	Worker       Worker       `yaml:"worker"`
	SSHD         SSHD         `yaml:"sshd"`
	Beacon       Beacon       `yaml:"beacon"`
	FullCheck    FullCheck    `yaml:"fullCheck"`
	Subscription Subscription `yaml:"subscription"`
	Metrics      Metrics      `yaml:"metrics"`
}

// User is an account on this machine.
type User struct {
	Name string `yaml:"name"`
	// File is the pattern of the file that sshd reads for the account, with sshd's %u, %h and %%; a relative one starts in the
	// account's home. Empty means .ssh/authorized_keys there.
	File string `yaml:"file"`
	// Options are written before each key in the managed block, as sshd(8) defines them.
	Options string `yaml:"options"`
}

// Worker says who this machine is where there is no instance metadata to tell.
type Worker struct {
	ARN string `yaml:"arn"`
}

// SSHD says where the machine's own sshd is.
type SSHD struct {
	// Address is where the agent asks sshd whether it accepts the keys.
	Address string `yaml:"address"`
	// HostKeys is a glob of host public key files.
	HostKeys string `yaml:"hostKeys"`
	// Port is where the controller reaches sshd; 0 means the port of Address.
	Port int `yaml:"port"`
	// Program is sshd itself, which is asked for its effective configuration.
	Program string `yaml:"program"`
	// ConfigFile is the configuration file that it runs with; empty means sshd's own default.
	ConfigFile string `yaml:"configFile"`
	// Controllers are the IP addresses from which log-ins come: sshd may treat them otherwise than the agent, which asks from this
	// machine. Empty means that addresses of this machine's networks stand for them.
	Controllers []string `yaml:"controllers"`
}

// Beacon is the cheap poll.
type Beacon struct {
	Interval time.Duration `yaml:"interval"`
}

// FullCheck is the poll that depends on nothing but the keyset secret.
type FullCheck struct {
	Interval time.Duration `yaml:"interval"`
}

// StaleAfter is how old the last success may be: every full check is a pass, and comes at the latest after 1.2 times its interval.
func (f FullCheck) StaleAfter() time.Duration { return 2 * f.Interval }

// Metrics are for Prometheus.
type Metrics struct {
	// Address is where they are served, on loopback; empty means nowhere.
	Address string `yaml:"address"`
}

// Subscription is the machine's own queue, which wakes the agent within a second.
type Subscription struct {
	Enabled     bool   `yaml:"enabled"`
	Topic       string `yaml:"topic"`
	QueuePrefix string `yaml:"queuePrefix"`
}

// Default is the configuration that an empty file means.
func Default() Config {
	return Config{ //nolint:gosec // names of secrets, no secret
		KeysetSecret: "/dev/ssh/public",
		LedgerTable:  "rotatessh-ledger",
		StateDir:     "/var/lib/rotatessh",
		LogLevel:     "info",
		Users:        []User{{Name: "ec2-user"}},
		SSHD:         SSHD{Address: "127.0.0.1:22", HostKeys: "/etc/ssh/ssh_host_*_key.pub", Program: "/usr/sbin/sshd"},
		Beacon:       Beacon{Interval: time.Minute},
		FullCheck:    FullCheck{Interval: 2 * time.Hour},
		Subscription: Subscription{Topic: "rotatessh-keyset-published", QueuePrefix: "rotatessh-"},
	}
}
