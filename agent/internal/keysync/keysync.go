// Package keysync keeps the authorized_keys files of this machine's users at what the keyset asks for, proves it by the machine's
// own sshd and acknowledges it.
//
// It works by level, not by edge: a pass compares what is with what should be and repairs the difference, whatever woke it. Its
// one promise is that doubt changes nothing: a keyset that cannot be read, is not valid, or is older than one seen before is
// reported and otherwise ignored, and the last good one stays in force. It does not promise that a key works, only that sshd said so.
package keysync

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/agent/internal/config"
	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// Config is what a Syncer is to do.
type Config struct {
	Worker       string // this machine's instance ARN
	Users        []config.User
	Protect      []string // fingerprints that stay outside the managed block even when retired
	Port         int      // where the controller reaches sshd
	AgentVersion string
	// BeatEvery is how often Run calls Reporter.Alive while it waits; 0 means never.
	BeatEvery time.Duration
}

// Parts are what a Syncer works with. All are needed.
type Parts struct {
	Source   Source
	Recorder Recorder
	Accounts Accounts
	Files    Files
	Verifier Verifier
	Memory   Memory
	Resets   Resets
	Clock    Clock
	Reporter Reporter
}

// Syncer does passes. Pass and Run are for one goroutine; Known is for any.
type Syncer struct {
	cfg Config
	Parts
	log *zap.Logger

	doc      *keystore.Document // the last good one of this run
	seen     state.Seen         // the same, as Memory has it; zero when that is to be forgotten
	known    atomic.Pointer[Known]
	refused  *refusal // why the last fetch did not bring a keyset in force; nil when it did
	failures int      // fetches refused in a row
	users    map[string]*userMemory
	sshd     sshd
	acked    *ledger.Ack // as last written
	waiting  time.Time   // since when sshd has not been listening; zero when it is
	status   Status
}

// Known is what the Syncer knows of the keyset.
type Known struct {
	SecretARN  string // of the key-pair secret; empty until a keyset has been seen
	Generation int64  // of the keyset in force; 0 until one has been read in this run
}

// New makes a Syncer. It reads what Memory remembers and nothing else.
func New(cfg Config, parts Parts, log *zap.Logger) *Syncer {
	s := &Syncer{cfg: cfg, Parts: parts, log: log, users: make(map[string]*userMemory)}
	s.status = Status{Worker: cfg.Worker, AgentVersion: cfg.AgentVersion, StartedAt: time.Now().UTC()}
	var known Known
	if _, seen, ok := s.Memory.Only(); ok {
		known.SecretARN = seen.SecretARN
	}
	s.known.Store(&known)
	return s
}

// Known is what the Syncer knows of the keyset at this moment.
func (s *Syncer) Known() Known { return *s.known.Load() }
