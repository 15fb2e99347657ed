package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/rotator/internal/demo"
)

func someFigures() demo.Figures {
	return demo.Figures{
		Workers: 3, SSHD: "OpenSSH_9.2p1", Rotations: 2, Ready: 3, Accepted: 3, Retired: 3, OldKeyRefused: 2, NewKeyAccepted: 3,
		LoginsTried: 80, ForeignLinesKept: true, Copy: demo.Copied{Bytes: 9, SHA256Match: true}, SecondsToReady: 0.25, SecondsTotal: 9.5,
	}
}

func TestDemoShowsEachChangeOnceWhereThereIsNoTerminal(t *testing.T) {
	var stderr bytes.Buffer
	v := newDemoView(new(bytes.Buffer), &stderr, false)
	for _, p := range []demo.Progress{
		{Stage: "starting workers", Of: 3, What: "up", Elapsed: time.Second},
		{Stage: "starting workers", Of: 3, What: "up", Elapsed: 2 * time.Second},
		{Stage: "starting workers", Done: 1, Of: 3, What: "up", Elapsed: 2 * time.Second},
		{Stage: "trying", Elapsed: 3 * time.Second},
	} {
		v.Progress(p)
	}
	v.end()
	want := "   1.0s  starting workers, 0/3 up\n   2.0s  starting workers, 1/3 up\n   3.0s  trying\n"
	if diff := cmp.Diff(want, stderr.String()); diff != "" {
		t.Error(diff)
	}
}

func TestDemoEndsWithATable(t *testing.T) {
	var stdout bytes.Buffer
	newDemoView(&stdout, new(bytes.Buffer), false).Done(someFigures())
	for _, want := range []string{"3, each with its own OpenSSH_9.2p1", "2 of 3", "80, 0 failed", "0.25 s", "9 bytes, SHA-256 equal: yes"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, stdout.String())
		}
	}
}

func TestKeptDemoSaysHowToReachIt(t *testing.T) {
	access := demo.Access{EndpointURL: "http://127.0.0.1:1234", Region: "us-east-1", AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "s"}
	for _, asJSON := range []bool{false, true} {
		var stdout, stderr bytes.Buffer
		newDemoView(&stdout, &stderr, asJSON).Up(access)
		said := stdout.String()
		if asJSON {
			said = stderr.String()
			if stdout.Len() > 0 {
				t.Errorf("with --json, standard output holds %q", stdout.String())
			}
		}
		for _, want := range []string{
			"\nAWS_ENDPOINT_URL=http://127.0.0.1:1234\n", "\nAWS_REGION=us-east-1\n", "\nAWS_ACCESS_KEY_ID=AKIAEXAMPLE\n", "\nAWS_SECRET_ACCESS_KEY=s\n",
			"\nexport AWS_ENDPOINT_URL AWS_REGION ", "\naws --endpoint-url http://127.0.0.1:1234 ",
		} {
			if !strings.Contains(said, want) {
				t.Errorf("json %v: %q is not said:\n%s", asJSON, want, said)
			}
		}
	}
}

func TestDemoHints(t *testing.T) {
	for want, err := range map[string]error{
		"another user":   &demo.LockedError{Account: "root"},
		"make build":     &demo.MissingError{Path: "/x"},
		"XDG_STATE_HOME": &demo.FolderError{Path: "/x", Reason: "is world-writable"},
		"make demo":      demo.ErrNoSSHD,
	} {
		var stderr bytes.Buffer
		if status := fail(&stderr, hintDemo(fmt.Errorf("starting: %w", err))); status != 1 {
			t.Errorf("%v: exit status %d", err, status)
		}
		if !strings.Contains(stderr.String(), "hint: ") || !strings.Contains(stderr.String(), want) {
			t.Errorf("%v: no hint about %q: %s", err, want, stderr.String())
		}
	}
	if err := errors.New("x"); hintDemo(err) != err { //nolint:errorlint // the very same
		t.Error("an error without a hint is changed")
	}
}
