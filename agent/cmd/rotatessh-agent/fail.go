package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/rotatessh/rotatessh/agent/internal/account"
	"github.com/rotatessh/rotatessh/agent/internal/identity"
	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
)

// hinted is an error with a hint of its own.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// fail prints err and, where there is something to do about it, a hint. It returns the exit status.
func fail(stderr io.Writer, err error) int {
	// The parts of a joined error stand on lines of their own; a log reader wants one.
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	fmt.Fprintf(stderr, "rotatessh-agent: error: %s\n", text)
	if h := hint(err); h != "" {
		fmt.Fprintf(stderr, "rotatessh-agent: hint: %s\n", h)
	}
	if _, wrong := errors.AsType[*usageError](err); wrong {
		return 2
	}
	return 1
}

func hint(err error) string {
	if h, ok := errors.AsType[*hinted](err); ok {
		return h.hint
	}
	if _, wrong := errors.AsType[*usageError](err); wrong {
		return "rotatessh-agent help shows the commands and flags"
	}
	if f, ok := errors.AsType[*keysync.Fault](err); ok && slices.Contains([]string{keysync.CodeLower, keysync.CodeConflict, keysync.CodeJump}, f.Code) {
		return "find out who changed the keyset secret; if it was restored from a backup and is right, rotatessh-agent reset-generation"
	}
	for _, h := range [...]struct {
		target error
		text   string
	}{
		{identity.ErrNotEC2, "run this on an EC2 instance with IMDSv2 switched on, or set worker.arn to the instance's ARN in the configuration"},
		{state.ErrLocked, "the running agent does passes by itself; kill -HUP it, or systemctl reload rotatessh-agent, for one now"},
		{state.ErrUnreadable, "an older keyset could get in without that record; if you are sure that none is published, remove the file"},
		{keystore.ErrDenied, "the instance's role needs secretsmanager:GetSecretValue on the keyset secret, and kms:Decrypt if it has a key of its own"},
		{keystore.ErrNotFound, "check keysetSecret and region in the configuration"},
		{keyset.ErrEmpty, "there has been a keyset before: the rotator publishes it again at its next run"},
		{account.ErrUnknown, "create the account, or remove it from users in the configuration"},
		{fs.ErrPermission, "the agent needs root, unless it manages only the files of its own user"},
	} {
		if errors.Is(err, h.target) {
			return h.text
		}
	}
	return ""
}
