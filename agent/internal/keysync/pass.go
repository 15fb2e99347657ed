package keysync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
)

// grace is how long a pass in hand may go on once the program is told to stop. Reading the keyset is broken off at once.
const grace = 20 * time.Second

// A Request says what a pass is to do beyond comparing the files with the keyset in force.
type Request struct {
	Fetch      bool   // read the keyset again
	Full       bool   // that, and ask sshd again even where nothing has changed
	Generation int64  // the generation that is said to be published; 0 if none
	Why        string // for the log
}

// Pass does everything once: read the keyset, bring the files up to it, ask sshd, acknowledge. Independent work goes on after a
// fault; the error joins all of them, and nil means that every user's file holds the keyset and that sshd agrees. An sshd that
// gave no answer is an error. Where nothing has been published yet, nothing is done, which is nil.
func (s *Syncer) Pass(ctx context.Context) error {
	return s.pass(ctx, Request{Full: true, Why: "asked for"}).err
}

// outcome is what a pass came to.
type outcome struct {
	err          error
	notListening bool
	waiting      bool // err says nothing else
}

func (s *Syncer) pass(ctx context.Context, r Request) outcome {
	s.log.Debug("pass begins", logging.Reason(r.Why))
	var out outcome
	var faults []error
	reset, err := s.obeyReset()
	faults = append(faults, err)
	r.Full = r.Full || reset
	if r.Fetch || r.Full {
		s.refused = s.refresh(ctx, r.Generation)
		s.countFetch()
	}
	if ctx.Err() != nil {
		return outcome{err: ctx.Err()}
	}
	ctx, cancel := detach(ctx)
	defer cancel()
	if s.refused != nil {
		// It stands until a later reading succeeds: a pass that reads nothing is no better for it.
		faults = append(faults, s.refused.Fault)
	}
	faults = append(faults, s.remember())
	report := s.apply(ctx, r.Full)
	out.notListening = report.notListening
	faults = append(faults, report.faults...)
	if ack, ok := s.compose(report); ok {
		faults = append(faults, s.acknowledge(ctx, ack))
	}
	out.err = errors.Join(faults...)
	out.waiting = report.waiting > 0 && report.waiting == count(faults)
	s.show(out.err, report)
	return out
}

// detach gives a context that outlives ctx's end by grace, so that a stop does not tear a pass.
func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	detached, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(grace):
			cancel()
		case <-detached.Done():
		}
	})
	return detached, func() { stop(); cancel() }
}

func count(faults []error) (n int) {
	for _, err := range faults {
		if err != nil {
			n++
		}
	}
	return n
}

func (s *Syncer) countFetch() {
	s.failures++
	if s.refused == nil {
		s.failures = 0
	}
}

// levelOf is the level for the nth report in a row of one thing: after the first, ever more rarely as loud.
func levelOf(loud zapcore.Level, nth int) zapcore.Level {
	if nth&(nth-1) == 0 {
		return loud
	}
	return zap.DebugLevel
}

// applied is what came of bringing the files up to the keyset in force.
type applied struct {
	users        []ledger.User // empty when no keyset is in force
	faults       []error
	notListening bool
	waiting      int // faults that are nothing but an sshd that does not listen
}

// apply brings every user's file up to the keyset in force. One user's fault does not stop the others.
func (s *Syncer) apply(ctx context.Context, full bool) applied {
	var a applied
	if s.doc == nil {
		return a
	}
	now, _ := s.Clock.Now() // while AWS's time is not known, no key's time is up
	j := job{keyset: s.doc.Keyset.Effective(now), full: full, taken: make(map[string]string)}
	for _, u := range s.cfg.Users {
		m := s.memoryOf(u.Name)
		user, err := s.applyUser(ctx, u, m, j)
		a.users = append(a.users, user)
		if err != nil {
			a.faults = append(a.faults, fmt.Errorf("user %q: %w", u.Name, err))
			if user.Code == "" && m.verdict.NotListening {
				a.waiting++
			}
		}
		s.sshd.learn(m.verdict)
		a.notListening = a.notListening || m.verdict.NotListening
	}
	return a
}

// sshd is what is known of the machine's sshd itself. A connection that fails takes nothing of it away.
type sshd struct {
	hostKeys     []string
	banner       string
	settingsHash string
}

func (d *sshd) learn(v Verdict) {
	if len(v.HostKeys) > 0 {
		d.hostKeys = v.HostKeys
	}
	if v.Banner != "" {
		d.banner = v.Banner
	}
	if v.SettingsHash != "" {
		d.settingsHash = v.SettingsHash
	}
}

// show tells the Reporter how the pass went.
func (s *Syncer) show(err error, a applied) {
	st := &s.status
	st.UpdatedAt = time.Now().UTC()
	st.Users = a.users
	st.Banner = s.sshd.banner
	if s.doc != nil {
		now, _ := s.Clock.Now()
		st.SecretARN, st.KeysetARN, st.VersionID = s.doc.Keyset.SecretARN, s.doc.ARN, s.doc.VersionID
		st.Generation, st.Phase = s.doc.Keyset.Generation, s.doc.Keyset.Phase(now)
	} else if arn, seen, ok := s.Memory.Only(); ok {
		st.SecretARN, st.KeysetARN, st.VersionID, st.Generation = seen.SecretARN, arn, seen.VersionID, seen.Generation
	}
	st.Outcome, st.Code, st.Message = outcomeOf(a, s.refused)
	if err == nil {
		st.LastSuccess, st.Failures = st.UpdatedAt, 0
	} else {
		st.LastError, st.LastErrorAt = err.Error(), st.UpdatedAt
		st.Failures++
	}
	s.Reporter.Report(*st)
}
