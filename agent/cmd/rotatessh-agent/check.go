package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/rotatessh/rotatessh/agent/internal/account"
	"github.com/rotatessh/rotatessh/agent/internal/authkeys"
	"github.com/rotatessh/rotatessh/agent/internal/config"
	"github.com/rotatessh/rotatessh/agent/internal/userfile"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
)

// finding is one thing that check looked at.
type finding struct {
	Subject string `json:"subject"`
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`
	Hint    string `json:"hint,omitempty"`
}

// check looks at everything a pass needs and changes nothing. It is an error when something would fail.
func check(ctx context.Context, opts options) error {
	cfg, err := load(opts)
	if err != nil {
		return err
	}
	findings := []finding{{Subject: "configuration", OK: true, Detail: opts.config}}
	doc, more := checkKeyset(ctx, cfg, opts)
	findings = append(findings, more...)
	for _, u := range cfg.Users {
		findings = append(findings, checkUser(ctx, u, doc.Keyset))
	}
	if err := printFindings(opts, findings); err != nil {
		return err
	}
	bad := 0
	for _, f := range findings {
		if !f.OK {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d checks failed", bad, len(findings))
	}
	return nil
}

func found(subject, detail string, err error) finding {
	if err != nil {
		return finding{Subject: subject, Detail: err.Error(), Hint: hint(err)}
	}
	return finding{Subject: subject, OK: true, Detail: detail}
}

// checkKeyset finds out who the machine is and reads the keyset, which may be unpublished.
func checkKeyset(ctx context.Context, cfg config.Config, opts options) (keystore.Document, []finding) {
	w, err := survey(ctx, cfg, opts.stderr)
	if err != nil {
		return keystore.Document{}, []finding{found("identity", "", err)}
	}
	list := []finding{found("identity", w.worker.ARN, nil)}
	doc, err := w.source().Fetch(ctx)
	detail := fmt.Sprintf("generation %d, version %s", doc.Keyset.Generation, doc.VersionID)
	if errors.Is(err, keyset.ErrEmpty) {
		detail, err = "nothing has been published yet", nil
	}
	return doc, append(list, found("keyset", detail, err))
}

// checkUser looks the account up, reads its file and compares it with the keyset.
func checkUser(ctx context.Context, u config.User, k keyset.Keyset) finding {
	subject := "user " + u.Name
	a, err := account.Lookup(ctx, u.Name)
	if err != nil {
		return found(subject, "", err)
	}
	path := u.Expand(a.Home)
	data, err := (&userfile.Writer{}).Read(ctx, userfile.Target{User: u.Name, UID: a.UID, GID: a.GID, Home: a.Home, Path: path})
	if err != nil {
		return found(subject, "", err)
	}
	c := authkeys.Read(data, k.SecretARN)
	return found(subject, fmt.Sprintf("%s holds %d managed and %d other keys", path, len(c.Block), len(c.Foreign)), nil)
}

func printFindings(opts options, findings []finding) error {
	if opts.json {
		return printJSON(opts.stdout, struct {
			Checks []finding `json:"checks"`
		}{findings})
	}
	for _, f := range findings {
		word := "ok  "
		if !f.OK {
			word = "FAIL"
		}
		if _, err := fmt.Fprintf(opts.stdout, "%s %s: %s\n", word, f.Subject, f.Detail); err != nil {
			return err
		}
		if f.Hint != "" {
			if _, err := fmt.Fprintf(opts.stdout, "     hint: %s\n", f.Hint); err != nil {
				return err
			}
		}
	}
	return nil
}
