package keysync

import (
	"errors"
	"fmt"

	"github.com/rotatessh/rotatessh/agent/internal/account"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
)

// The reason codes that this package adds to those of packages keyset, userfile and account.
const (
	CodeEmpty       = "keyset-empty"        // {} where there has been a keyset before
	CodeDenied      = "keyset-denied"       // the worker's role may not read the secret
	CodeNotFound    = "keyset-not-found"    // no such secret
	CodeUnreachable = "keyset-unreachable"  // reading the secret failed otherwise, several times in a row
	CodeLower       = "generation-lower"    // older than one seen before
	CodeConflict    = "generation-conflict" // the generation seen before, with other content
	CodeJump        = "generation-jump"     // implausibly far above the one seen before

	CodeUnknownUser     = "unknown-user"     // the machine has no such account
	CodeAccount         = "account"          // looking the account up failed
	CodeSharedFile      = "shared-file"      // the file may let other accounts in
	CodeFile            = "file"             // reading, merging or writing failed otherwise
	CodeDrift           = "drift"            // the file was changed by another while it was checked
	CodeShadowed        = "shadowed"         // a line before the block has the key with other options
	CodeNotAccepted     = "not-accepted"     // sshd refuses a key that it should accept
	CodeRetiredAccepted = "retired-accepted" // sshd accepts a key that it should refuse
)

// A Fault is an error with a stable reason code for acknowledgements and logs.
type Fault struct {
	Code string
	Err  error
}

// Error is the error's text, without the code.
func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap gives the error.
func (f *Fault) Unwrap() error { return f.Err }

func fault(code, format string, args ...any) error {
	return &Fault{Code: code, Err: fmt.Errorf(format, args...)}
}

// withCode gives err the code it carries itself, or else fallback.
func withCode(err error, fallback string) *Fault {
	if known, ok := errors.AsType[*Fault](err); ok {
		return known
	}
	if coded, ok := errors.AsType[interface {
		error
		FailureCode() string
	}](err); ok {
		return &Fault{Code: coded.FailureCode(), Err: err}
	}
	if errors.Is(err, account.ErrUnknown) {
		fallback = CodeUnknownUser
	}
	return &Fault{Code: fallback, Err: err}
}

// fetchFault gives an error of Source.Fetch its code.
func fetchFault(err error) *Fault {
	switch code := keyset.CodeOf(err); {
	case code != "":
		return &Fault{Code: string(code), Err: err}
	case errors.Is(err, keyset.ErrEmpty):
		return &Fault{Code: CodeEmpty, Err: err}
	case errors.Is(err, keystore.ErrDenied):
		return &Fault{Code: CodeDenied, Err: err}
	case errors.Is(err, keystore.ErrNotFound):
		return &Fault{Code: CodeNotFound, Err: err}
	}
	return withCode(err, CodeUnreachable)
}
