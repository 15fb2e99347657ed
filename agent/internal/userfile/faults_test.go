package userfile

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotatessh/rotatessh/agent/internal/userfile/faults"
)

// allFaults runs the rows with the runner and prints the table.
func allFaults(t *testing.T, run faults.Runner) faults.Totals {
	t.Helper()
	var table strings.Builder
	runs := 1
	if longRun() {
		runs = 10
	}
	total, err := faults.Run(t.Context(), faults.Options{Dir: safeDir(t), Out: &table, Short: !longRun(), Runs: runs}, run)
	t.Logf("\n%s", table.String())
	must(t, err)
	return total
}

func TestFaultsTearNothingAndLoseNothing(t *testing.T) {
	if total := allFaults(t, runRewrite); !total.OK() {
		t.Errorf("%d reports were wrong; %s", total.Wrong, total)
	}
}

// The packaged agent is not root: it has an account of its own with a few capabilities.
func TestFaultsUnderTheServicesAccount(t *testing.T) {
	needRoot(t)
	program := copyProgram(t)
	total := allFaults(t, func(ctx context.Context, s *faults.Site, trace *faults.Trace) (string, error) {
		if trace != nil {
			return runRewrite(ctx, s, trace) // strace would need the capabilities too
		}
		cmd := helper(ctx, "rewrite", nil, targetEnv(Target{UID: s.UID, GID: s.GID, Home: s.Home, Path: s.File})...)
		cmd.Path = program
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential:  &syscall.Credential{Uid: faults.UserID + 7, Gid: faults.UserID + 7},
			AmbientCaps: []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_CHOWN, unix.CAP_FOWNER, unix.CAP_LEASE},
		}
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	})
	if !total.OK() {
		t.Errorf("%d reports were wrong; %s", total.Wrong, total)
	}
}

// copyProgram copies this program to where every user can start it.
func copyProgram(t *testing.T) (path string) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	path = filepath.Join(dir, "program")
	in, err := os.Open(os.Args[0])
	must(t, err)
	defer in.Close()
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	must(t, err)
	_, err = io.Copy(out, in)
	must(t, err)
	must(t, out.Close())
	return path
}

// The matrix finds out the writer that everybody writes first.
func TestFaultsFindANaiveWriterOut(t *testing.T) {
	needRoot(t)
	total := allFaults(t, func(ctx context.Context, s *faults.Site, trace *faults.Trace) (string, error) {
		if trace != nil {
			return faults.Applied, faults.ErrNotRun
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second) // it waits for a FIFO's other end for ever
		defer cancel()
		_ = helper(ctx, "naive", nil, targetEnv(Target{UID: s.UID, GID: s.GID, Home: s.Home, Path: s.File})...).Run()
		return faults.Applied, nil
	})
	if total.Torn == 0 || total.Lost == 0 || total.Outside == 0 || total.Wrong == 0 {
		t.Errorf("%d reports were wrong; %s", total.Wrong, total)
	}
}
