package main

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/metrics"
	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/agent/internal/wake"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// reporter shows the agent's state to whoever looks: a file for status, systemd, and the file watcher, which learns from it where
// the files are.
type reporter struct {
	dir   string
	files *wake.Files      // nil for a single pass
	meter *metrics.Metrics // nil where nobody asks
	log   *zap.Logger
	last  keysync.Status

	written keysync.Status
	at      time.Time // when it was
	broken  bool      // the last write failed
}

// rewriteAfter is how old the status on disk may get while only its times and counters change. Passes can follow each other every
// two seconds for as long as sshd is down, and each write waits for the disk.
const rewriteAfter = 30 * time.Second

// Report implements keysync.Reporter.
func (r *reporter) Report(s keysync.Status) {
	r.last = s
	if r.meter != nil {
		r.meter.Observe(s)
	}
	if time.Since(r.at) >= rewriteAfter || !sameNews(s, r.written) {
		r.write(s)
	}
	if r.files == nil {
		return
	}
	r.files.Set(append(paths(s.Users), state.ResetPath(r.dir)))
	// The first report means that the first pass is over, whatever came of it: sshd need not wait any longer.
	r.notify(daemon.SdNotifyReady + "\n" + daemon.SdNotifyWatchdog + "\nSTATUS=" + headline(s))
}

// applied is told of each file rewritten.
func (r *reporter) applied() {
	if r.meter != nil {
		r.meter.Applied()
	}
}

func (r *reporter) write(s keysync.Status) {
	err := state.WriteStatus(r.dir, s)
	if err != nil && !r.broken {
		r.log.Warn("status cannot be written", zap.Error(err))
	}
	r.written, r.at, r.broken = s, time.Now(), err != nil
}

// sameNews reports whether b tells an operator what a does, give or take times and counters.
func sameNews(a, b keysync.Status) bool {
	for _, s := range []*keysync.Status{&a, &b} {
		s.UpdatedAt, s.LastSuccess, s.LastErrorAt, s.LastAck = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		s.Failures = min(s.Failures, 1)
	}
	return reflect.DeepEqual(a, b)
}

// Alive implements keysync.Reporter.
func (r *reporter) Alive() { r.notify(daemon.SdNotifyWatchdog) }

// notify tells systemd, if it is systemd that started us.
func (r *reporter) notify(message string) {
	if _, err := daemon.SdNotify(false, message); err != nil {
		r.log.Debug("systemd cannot be told", zap.Error(err))
	}
}

func paths(users []ledger.User) []string {
	var list []string
	for _, u := range users {
		if u.File != "" {
			list = append(list, u.File)
		}
	}
	return list
}

// headline is the state in one line.
func headline(s keysync.Status) string {
	switch {
	case s.Generation == 0 && s.Code != "":
		return "no keyset is in force: " + s.Code
	case s.Outcome == "":
		return "waiting: nothing has been published yet"
	case s.Outcome == ledger.Failed:
		return fmt.Sprintf("generation %d: %s", s.Generation, s.Code)
	}
	line := fmt.Sprintf("generation %d applied (%s)", s.Generation, s.Phase)
	if s.Failures > 0 {
		line += ", but: " + strings.ReplaceAll(s.LastError, "\n", "; ")
	}
	return line
}
