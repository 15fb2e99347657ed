package sshclient

import (
	"errors"
	"fmt"
)

// Phase is how far a connection had come when it failed.
type Phase string

// The phases, in the order in which a connection passes them.
const (
	PhaseDial      Phase = "dial"      // no TCP connection
	PhaseHandshake Phase = "handshake" // no SSH transport: not an SSH server, a closed connection, a time-out
	PhaseHostKey   Phase = "host-key"  // the server is not the one that was pinned
	PhaseAuth      Phase = "auth"      // the handshake was completed, the log-in was not
	PhaseSession   Phase = "session"   // logged in, but no channel, or the connection broke
	PhaseCommand   Phase = "command"   // the command or the transfer itself
)

// ErrAuth is in the chain of an error exactly when the server has completed the handshake, proved its
// host key, and answered that it refuses the key, or takes no keys at all. A connection that breaks in
// between, a time-out and a key that is accepted as one of several factors are not ErrAuth.
var ErrAuth = errors.New("the server refused the key")

// Error is every error that this package returns about a server.
type Error struct {
	Phase  Phase
	Target string // Target.Name
	Err    error
}

// Error is "name: phase: cause".
func (e *Error) Error() string { return fmt.Sprintf("%s: %s: %v", e.Target, e.Phase, e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// PhaseOf is the phase of the *Error in err's chain, or "" if there is none.
func PhaseOf(err error) Phase {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Phase
	}
	return ""
}
