package demo

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

const (
	maxWorkers = 500 // more processes than a machine for demonstrations carries
	// The first rotation makes the key that the second replaces.
	minRotations = 2
)

// Options say what fleet to run. DefaultOptions gives usable ones but for Binaries.
type Options struct {
	Workers   int
	Rotations int // for Run, at least 2
	// KeyType is the type of the generated keys; empty leaves it to the rotator.
	KeyType string
	// RetireAfter is how long the old key is still accepted after the new one is in use.
	RetireAfter time.Duration
	// Patience bounds every wait for the fleet or the rotator.
	Patience time.Duration
	// LogLevel is that of the agents and of the rotator, whose logs lie in the fleet's folder.
	LogLevel string
	// StateDir is where the fleet's folder is made; empty is the user's state directory.
	StateDir string
	// SSHD is the OpenSSH server; empty means ROTATESSH_SSHD, then PATH, then the usual places.
	SSHD     string
	Binaries Binaries
	// ServerLog, if not nil, receives the log of the AWS endpoint.
	ServerLog io.Writer

	// What only scenarios change; zero values are the plain demo's.
	scenario        bool
	functionTimeout time.Duration // of the rotator's function
	functionEnv     []string      // further settings of the rotator
	retryRotation   time.Duration // Secrets Manager's wait before it tries a failed rotation again
	scheduleEvery   time.Duration // for a rotator's schedule that comes round sooner
	agentless       int           // how many workers, the last ones, have no agent
	readAgain       bool          // controllers that are refused read the key again, once
}

// DefaultOptions are three workers, two rotations, and two seconds for the old key.
func DefaultOptions() Options {
	return Options{Workers: 3, Rotations: minRotations, RetireAfter: 2 * time.Second, Patience: 2 * time.Minute, LogLevel: "info"}
}

// Validate reports everything that is wrong with o, joined.
func (o Options) Validate() error {
	var errs []error
	if o.Workers < 1 || o.Workers > maxWorkers {
		errs = append(errs, fmt.Errorf("%d workers are not between 1 and %d", o.Workers, maxWorkers))
	}
	if o.Rotations < minRotations {
		errs = append(errs, fmt.Errorf("%d rotations are not enough: the first makes the key that the second replaces", o.Rotations))
	}
	if o.RetireAfter <= 0 {
		errs = append(errs, fmt.Errorf("an old key cannot be retired after %s: the time must be positive", o.RetireAfter))
	}
	if o.Patience <= 0 {
		errs = append(errs, errors.New("patience must be positive"))
	}
	if o.KeyType != "" {
		_, err := keypair.ParseType(o.KeyType)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
