package keysync

import (
	"context"
	"time"

	"github.com/rotatessh/rotatessh/agent/internal/account"
	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// Source is where the keyset comes from. Its errors are those of keystore.Reader.
type Source interface {
	Fetch(ctx context.Context) (keystore.Document, error)
}

// Recorder is where acknowledgements go. PutAck gives the pass number under which the acknowledgement stands. ReplaceAck takes the place of
// whatever is there.
type Recorder interface {
	PutAck(ctx context.Context, a ledger.Ack) (int64, error)
	ReplaceAck(ctx context.Context, a ledger.Ack) error
}

// Accounts looks users up. Its errors are those of account.Lookup.
type Accounts interface {
	Lookup(ctx context.Context, name string) (account.Account, error)
}

// Target is one user's file.
type Target struct {
	User     string
	UID, GID int
	Home     string
	Path     string
}

// Files reads and replaces files. The Change may be called more than once; only its last call counts.
type Files interface {
	// Rewrite replaces the file unless change returns what it was given. Bytes is what the file holds afterwards.
	Rewrite(ctx context.Context, t Target, change func(old []byte) ([]byte, error)) (data []byte, written bool, err error)
	Read(ctx context.Context, t Target) ([]byte, error)
}

// Question is what a Verifier is to find out about one user.
type Question struct {
	Account account.Account
	File    string             // the file that holds the keys
	Options string             // that stand before each of them
	Block   []string           // fingerprints read back from the managed block
	Accept  []keyset.PublicKey // in the order of asking
	Refuse  keyset.PublicKey   // asked last; zero for none
}

// Answer is what was found out about one key.
type Answer struct {
	Accepted ledger.Accepted
	Why      string
}

// Verdict is what a Verifier found out, about log-ins and not only about its own connection. Answers holds every key of the question, by fingerprint.
type Verdict struct {
	Answers      map[string]Answer
	HostKeys     []string
	Banner       string
	SettingsHash string
	// Err says why sshd gave no answer; asking again may help.
	Err error
	// NotListening says that Err is that nothing listens yet: asking again soon will help.
	NotListening bool
}

// Verifier asks sshd.
type Verifier interface {
	Verify(ctx context.Context, q Question) Verdict
}

// Memory holds the newest document seen of each keyset secret, across restarts.
type Memory interface {
	Highest(keysetARN string) (state.Seen, bool)
	Only() (keysetARN string, s state.Seen, ok bool)
	Remember(keysetARN string, s state.Seen) error
}

// Resets are an operator's orders to forget what Memory holds; see package state.
type Resets interface {
	Take() (r state.Reset, ordered bool, err error)
	Pending() bool
	Settle() error
}

// Clock tells AWS's time, and false while it does not know it.
type Clock interface {
	Now() (time.Time, bool)
}

// Reporter shows how the Syncer is doing.
type Reporter interface {
	// Report is called after every pass.
	Report(s Status)
	// Alive is called while the Syncer waits.
	Alive()
}
