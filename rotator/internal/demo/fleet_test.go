package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script is a program in the place of one of ours.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// mustLeaveNothing checks that a fleet that did not come up is gone altogether.
func mustLeaveNothing(t *testing.T, o Options) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(o.StateDir, "rotatessh", folderPrefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("folders left: %q, %v", left, err)
	}
	if left := processesOf(t, o.StateDir); len(left) > 0 {
		t.Errorf("processes left: %q", left)
	}
}

func TestAgentThatCannotLiveIsShownWithItsLog(t *testing.T) {
	o := fleetOptions(t)
	o.Workers = 1
	o.Binaries.Agent = script(t, "echo 'cannot work like this' >&2; exit 3")
	f, err := Start(t.Context(), o, nil)
	if err == nil {
		_ = f.Close()
		t.Fatal("the fleet started")
	}
	var logged *LoggedError
	if !errors.As(err, &logged) || len(logged.Logs) != 1 || !strings.Contains(strings.Join(logged.Logs[0].Lines, "\n"), "cannot work like this") {
		t.Errorf("error is %v, want the end of the agent's log", err)
	}
	if !strings.Contains(err.Error(), "worker-1 agent ended: exit status 3") {
		t.Errorf("error is %v", err)
	}
	mustLeaveNothing(t, o)
}

func TestGuardianThatIsNoneIsNoticed(t *testing.T) {
	o := fleetOptions(t)
	o.Binaries.Rotatessh = script(t, "echo hello")
	if f, err := Start(t.Context(), o, nil); err == nil || !strings.Contains(err.Error(), "starting the guardian") {
		t.Errorf("fleet %v, error %v", f, err)
	}
	mustLeaveNothing(t, o)
}

func TestStartThatIsCalledOffLeavesNothing(t *testing.T) {
	o := fleetOptions(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f, err := Start(ctx, o, func(p Progress) {
		if p.Stage == "starting workers" && p.Done == 1 {
			cancel()
		}
	})
	if err == nil {
		_ = f.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	mustLeaveNothing(t, o)
}

func TestRotatorThatCannotRunIsReportedInTime(t *testing.T) {
	o := fleetOptions(t)
	o.Workers = 1
	o.Patience = 4 * time.Second
	o.Binaries.Bootstrap = script(t, "echo 'no such thing' >&2; exit 1")
	f, err := Start(t.Context(), o, nil)
	if err != nil {
		fatal(t, err)
	}
	defer f.Close()
	_, err = f.Rotate(t.Context())
	var logged *LoggedError
	if !errors.As(err, &logged) || !strings.Contains(strings.Join(logged.Logs[0].Lines, "\n"), "no such thing") {
		t.Errorf("error is %v, want the end of the rotator's log", err)
	}
}
