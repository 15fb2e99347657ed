package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rotatessh/rotatessh/agent/internal/config"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
)

// finding is one thing that check looked at.
type finding struct {
	Subject string `json:"subject"`
	OK      bool   `json:"ok"`
	Code    string `json:"code,omitempty"` // stable reason code of what is wrong
	Detail  string `json:"detail"`
	Hint    string `json:"hint,omitempty"` // how to put it right
}

// check looks at everything a pass needs and changes nothing. It is an error when something would fail.
func check(ctx context.Context, opts options) error {
	cfg, err := load(opts)
	if err != nil {
		return err
	}
	findings := []finding{{Subject: "configuration", OK: true, Detail: opts.config}}
	doc, more := checkKeyset(ctx, cfg, opts.stderr)
	findings = append(findings, more...)
	findings = append(findings, checkUsers(ctx, cfg, doc.Keyset)...)
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
		return finding{Subject: subject, Code: codeOf(err), Detail: err.Error(), Hint: hint(err)}
	}
	return finding{Subject: subject, OK: true, Detail: detail}
}

func codeOf(err error) string {
	if coded, ok := errors.AsType[interface {
		error
		FailureCode() string
	}](err); ok {
		return coded.FailureCode()
	}
	return string(keyset.CodeOf(err))
}

// checkKeyset finds out who the machine is and reads the keyset, which may be unpublished.
func checkKeyset(ctx context.Context, cfg config.Config, stderr io.Writer) (keystore.Document, []finding) {
	w, err := survey(ctx, cfg, stderr)
	if err != nil {
		return keystore.Document{}, []finding{found("identity", "", err)}
	}
	list := []finding{found("identity", w.worker.ARN, nil)}
	doc, err := w.source().Fetch(ctx)
	detail := fmt.Sprintf("generation %d, version %s", doc.Keyset.Generation, doc.VersionID)
	if errors.Is(err, keyset.ErrEmpty) {
		detail, err = "nothing has been published yet", nil
	}
	if err != nil {
		doc.Keyset = keyset.Keyset{} // what does not validate is not to be looked at
	}
	return doc, append(list, found("keyset", detail, err))
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
		line := fmt.Sprintf("%s %s: %s\n", word, f.Subject, f.Detail)
		if f.Hint != "" {
			line += fmt.Sprintf("     hint: %s\n", f.Hint)
		}
		if _, err := io.WriteString(opts.stdout, line); err != nil {
			return err
		}
	}
	return nil
}
