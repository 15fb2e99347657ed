package main

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/rotatessh/rotatessh/agent/internal/acceptance"
	"github.com/rotatessh/rotatessh/agent/internal/config"
	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/sshdconf"
)

// verifier asks sshd twice: whether it accepts the keys, over a connection, and what that is worth, by its configuration.
type verifier struct {
	asker       *acceptance.Asker
	inspector   *sshdconf.Inspector
	port        string
	controllers []string
	settings    map[string]sshdconf.Settings // by user
}

func newVerifier(c config.SSHD) *verifier {
	_, port, _ := net.SplitHostPort(c.Address) // validated
	return &verifier{
		asker:       acceptance.New(acceptance.Config{Address: c.Address, HostKeyFiles: c.HostKeys}),
		inspector:   sshdconf.New(sshdconf.Config{Program: c.Program, File: c.ConfigFile, Address: c.Address}),
		port:        port,
		controllers: c.Controllers,
		settings:    make(map[string]sshdconf.Settings),
	}
}

// Verify implements keysync.Verifier. Where sshd does not tell its configuration, its answers stand as they are.
func (v *verifier) Verify(ctx context.Context, q keysync.Question) keysync.Verdict {
	r, err := v.asker.Ask(ctx, acceptance.Question{User: q.Account.Name, Accept: q.Accept, Refuse: q.Refuse})
	verdict := keysync.Verdict{
		Answers:      make(map[string]keysync.Answer, len(r.Answers)),
		HostKeys:     r.HostKeys,
		Banner:       r.Banner,
		Err:          err,
		NotListening: errors.Is(err, acceptance.ErrNotListening),
	}
	var report sshdconf.Report
	if err == nil {
		report = v.inspect(ctx, q, r.Source)
		verdict.SettingsHash = sshdconf.Hash(v.settings)
	}
	for _, a := range r.Answers {
		var j keysync.Answer
		if a.Fingerprint == q.Refuse.Fingerprint() {
			j.Accepted, j.Why = report.JudgeRefused(a.Accepted, a.Why)
		} else {
			j.Accepted, j.Why = report.JudgeAccepted(a.Accepted, a.Why, slices.Contains(q.Block, a.Fingerprint))
		}
		verdict.Answers[a.Fingerprint] = j
	}
	return verdict
}

// inspect finds out what sshd's answers are worth for one user. An empty report says that they are worth what they say.
func (v *verifier) inspect(ctx context.Context, q keysync.Question, source string) sshdconf.Report {
	settings, err := v.inspector.Settings(ctx, q.Account.Name, source)
	if err == nil && !settings.Listens(v.port) {
		// The configuration is that of another sshd. Judging by it would be worse than not judging.
		return sshdconf.Report{}
	}
	report, err := v.inspector.Inspect(ctx, v.subject(q, source))
	if err == nil {
		v.settings[q.Account.Name] = report.Settings
	}
	return report
}

// subject is the same question for sshd's configuration.
func (v *verifier) subject(q keysync.Question, source string) sshdconf.Subject {
	return sshdconf.Subject{
		Account: q.Account, File: q.File, Options: q.Options, Keys: q.Accept, Source: source, Controllers: v.controllers,
	}
}
