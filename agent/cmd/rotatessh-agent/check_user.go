package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rotatessh/rotatessh/agent/internal/account"
	"github.com/rotatessh/rotatessh/agent/internal/authkeys"
	"github.com/rotatessh/rotatessh/agent/internal/config"
	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/userfile"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// checkUsers looks at every user's file and at what sshd makes of it.
func checkUsers(ctx context.Context, cfg config.Config, k keyset.Keyset) []finding {
	var list []finding
	v := newVerifier(cfg.SSHD)
	for _, u := range cfg.Users {
		q, f := checkFile(ctx, u, k)
		list = append(list, f)
		if q.File == "" {
			continue
		}
		for _, f := range v.explain(ctx, q) {
			f.Subject = "user " + u.Name
			list = append(list, f)
		}
	}
	return list
}

// checkFile looks the account up and reads its file. The question is what sshd is to be asked about; it has no file when there is
// no account.
func checkFile(ctx context.Context, u config.User, k keyset.Keyset) (keysync.Question, finding) {
	subject := "user " + u.Name
	a, err := account.Lookup(ctx, u.Name)
	if err != nil {
		return keysync.Question{}, found(subject, "", err)
	}
	q := keysync.Question{Account: a, File: u.Expand(a.Home), Options: u.Options}
	data, err := (&userfile.Writer{}).Read(ctx, userfile.Target{User: u.Name, UID: a.UID, GID: a.GID, Home: a.Home, Path: q.File})
	if err != nil {
		return q, found(subject, "", err)
	}
	content := authkeys.Read(data, k.SecretARN)
	for _, e := range content.Block {
		q.Block = append(q.Block, e.Fingerprint)
	}
	// Only keys that are there already: sshd counts a refusal as a failed log-in.
	for _, key := range k.Keys {
		if slices.Contains(q.Block, key.PublicKey.Fingerprint()) {
			q.Accept = append(q.Accept, key.PublicKey)
		}
	}
	return q, found(subject, fmt.Sprintf("%s holds %d managed and %d other keys", q.File, len(content.Block), len(content.Foreign)), nil)
}

// explain says what sshd's configuration and its answers have against a user's keys.
func (v *verifier) explain(ctx context.Context, q keysync.Question) []finding {
	var list []finding
	report, err := v.inspector.Inspect(ctx, v.subject(q, ""))
	switch {
	case err != nil:
		list = append(list, finding{OK: true, Detail: "not looked at: " + err.Error(), Hint: "run this as root, or set sshd.program and sshd.configFile"})
	case !report.Settings.Listens(v.port):
		return append(list, finding{
			OK: true, Detail: "not looked at: sshd's configuration is that of an sshd on another port than " + v.port, Hint: "set sshd.configFile",
		})
	}
	for _, f := range report.Findings {
		list = append(list, finding{OK: !f.Fault(), Code: string(f.Code), Detail: f.Message, Hint: f.Fix})
	}
	if len(q.Accept) == 0 {
		return list
	}
	verdict := v.Verify(ctx, q)
	for _, key := range q.Accept {
		a := verdict.Answers[key.Fingerprint()]
		detail := fmt.Sprintf("key %s, accepted: %s", key.Fingerprint(), a.Accepted)
		if a.Why != "" {
			detail += ": " + strings.TrimSpace(a.Why)
		}
		list = append(list, finding{OK: a.Accepted == ledger.Yes, Detail: detail})
	}
	return list
}
