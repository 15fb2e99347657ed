package sshclient

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRunReportsOutputsAndExitStatus(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	c := mustDial(t, s.target("ed25519"), s.Key)
	for cmd, want := range map[string]Output{
		"true":                           {},
		"echo out; echo err >&2; exit 7": {Stdout: "out\n", Stderr: "err\n", ExitStatus: 7},
		"cat":                            {},
		"exit 255":                       {ExitStatus: 255},
	} {
		got, err := c.Run(t.Context(), cmd)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", cmd, err, diff)
		}
	}
}

func TestCommandEndedBySignalIsAnError(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	c := mustDial(t, s.target("ed25519"), s.Key)
	_, err := c.Run(t.Context(), "kill -KILL $$")
	wantError(t, err, PhaseCommand, false)
	if _, err := c.Run(t.Context(), "true"); err != nil {
		t.Errorf("the connection did not survive: %v", err)
	}
}

func TestEndlessOutputIsCappedWithoutBlockingTheCommand(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	c := mustDial(t, s.target("ed25519"), s.Key)
	out, err := c.Run(t.Context(), "head -c 3000000 /dev/zero; exit 3")
	if err != nil || out.ExitStatus != 3 || len(out.Stdout) != maxOutput {
		t.Errorf("%d bytes, exit status %d, %v", len(out.Stdout), out.ExitStatus, err)
	}
}

func TestEndOfContextEndsTheCommand(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	c := mustDial(t, s.target("ed25519"), s.Key)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := c.Run(ctx, "sleep 600")
	wantError(t, err, PhaseCommand, false)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v is not the context's", err)
	}
	if _, err := c.Run(t.Context(), "true"); err == nil {
		t.Error("the connection is still in use")
	}
}

func TestFrozenServerEndsTheCommand(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	p := startProxy(t, s.Port)
	target := s.target("ed25519")
	target.Port = p.port
	l := defaults()
	l.keepalive, l.unanswered = 50*time.Millisecond, 200*time.Millisecond
	c, err := dial(t.Context(), target, s.Key, l)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	time.AfterFunc(300*time.Millisecond, func() { close(p.frozen) })
	_, err = c.Run(t.Context(), "sleep 600")
	wantError(t, err, PhaseCommand, false)
	if !strings.Contains(err.Error(), "has not answered") {
		t.Errorf("error %q does not say why", err)
	}
}

func TestServerThatOpensNoSessionIsLeftInTime(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	p := startProxy(t, s.Port)
	target := s.target("ed25519")
	target.Port = p.port
	l := defaults()
	l.channel = 200 * time.Millisecond
	c, err := dial(t.Context(), target, s.Key, l)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	close(p.frozen)
	_, err = c.Run(t.Context(), "true")
	wantError(t, err, PhaseSession, false)
}

func TestClosedClientRunsNothing(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	c := mustDial(t, s.target("ed25519"), s.Key)
	c.Close()
	_, err := c.Run(t.Context(), "true")
	if !errors.Is(err, errClosed) {
		t.Errorf("error %v", err)
	}
}
