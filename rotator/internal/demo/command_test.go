package demo

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// demoProcess is a running `rotatessh demo` of the compiled program.
type demoProcess struct {
	cmd    *exec.Cmd
	state  string // its XDG_STATE_HOME
	stdout lockedBuffer
	stderr lockedBuffer
	done   chan error
}

// lockedBuffer collects what a process writes while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startDemo runs the compiled demo. It is killed at the end of the test at the latest.
func startDemo(t *testing.T, b Binaries, args ...string) *demoProcess {
	t.Helper()
	if _, err := findSSHD(t.Context(), ""); err != nil {
		t.Skipf("not run: %v", err)
	}
	d := &demoProcess{state: newStateDir(t), done: make(chan error, 1)}
	d.cmd = exec.Command(b.Rotatessh, append([]string{"demo"}, args...)...)
	d.cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+d.state)
	d.cmd.Stdout, d.cmd.Stderr = &d.stdout, &d.stderr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		d.done <- d.cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-ended
		d.awaitGone(t)
	})
	return d
}

// wait waits for the end and gives the exit status.
func (d *demoProcess) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-d.done:
		return d.cmd.ProcessState.ExitCode()
	case <-time.After(4 * time.Minute):
		t.Fatalf("the demo does not end; so far it said:\n%s", d.stderr.String())
		return -1
	}
}

// awaitOutput waits until text has been written to standard error.
func (d *demoProcess) awaitOutput(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(4 * time.Minute); !strings.Contains(d.stderr.String(), text); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-d.done:
			d.done <- err
			if strings.Contains(d.stderr.String(), text) {
				return
			}
			t.Fatalf("the demo ended (%v) without saying %q:\n%s", err, text, d.stderr.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the demo does not say %q:\n%s", text, d.stderr.String())
		}
	}
}

// awaitGone waits until neither a process nor a folder of the demo is left.
func (d *demoProcess) awaitGone(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		left := processesOf(t, d.state)
		folders, err := filepath.Glob(filepath.Join(d.state, "rotatessh", folderPrefix+"*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 && len(folders) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("left behind: folders %q, processes %q", folders, left)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// figures reads the one JSON object on standard output, strictly.
func (d *demoProcess) figures(t *testing.T) Figures {
	t.Helper()
	var f Figures
	dec := json.NewDecoder(strings.NewReader(d.stdout.String()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		t.Fatalf("standard output is no figures: %v: %q\n%s", err, d.stdout.String(), d.stderr.String())
	}
	if dec.More() {
		t.Errorf("standard output holds more than one object: %q", d.stdout.String())
	}
	return f
}

func TestDemoGivesRightFigures(t *testing.T) {
	d := startDemo(t, programs(t), "--workers", "3", "--json")
	status := d.wait(t)
	f := d.figures(t)
	if wrong := f.Check(DefaultOptions()); status != 0 || len(wrong) > 0 {
		t.Fatalf("exit status %d, wrong %v\n%s", status, wrong, d.stderr.String())
	}
	if !strings.HasPrefix(f.SSHD, "OpenSSH_") {
		t.Errorf("sshd is %q", f.SSHD)
	}
	t.Logf("%s", d.stdout.String())
	d.awaitGone(t)
}

func TestDemoPrintsTheFiguresInOrder(t *testing.T) {
	d := startDemo(t, programs(t), "--workers", "1", "--json", "--key-type", "ecdsa-p256", "--rotations", "3")
	if status := d.wait(t); status != 0 {
		t.Fatalf("exit status %d\n%s", status, d.stderr.String())
	}
	var names []string
	dec := json.NewDecoder(strings.NewReader(d.stdout.String()))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.(string))
		if err := dec.Decode(new(json.RawMessage)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"workers", "sshd", "rotations", "ready", "accepted", "retired", "oldKeyRefused", "newKeyAccepted",
		"loginsTried", "loginsFailed", "foreignLinesKept", "copy", "secondsToReady", "secondsTotal"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if f := d.figures(t); f.Rotations != 3 {
		t.Errorf("%d rotations, want 3", f.Rotations)
	}
}

func TestTwoDemosAtOnce(t *testing.T) {
	b := programs(t)
	one, two := startDemo(t, b, "--json"), startDemo(t, b, "--json")
	for _, d := range []*demoProcess{one, two} {
		if status := d.wait(t); status != 0 {
			t.Errorf("exit status %d\n%s", status, d.stderr.String())
		}
	}
}

func TestDemoThatIsEndedLeavesNothing(t *testing.T) {
	b := programs(t)
	for _, c := range []struct {
		name  string
		sig   syscall.Signal
		after string
	}{
		{"interrupt while it starts", syscall.SIGINT, "starting workers, 1/3"},
		{"interrupt in a rotation", syscall.SIGINT, "rotation 2 of 2: "},
		{"termination in a rotation", syscall.SIGTERM, "rotation 1 of 2: "},
		{"hang-up of the terminal", syscall.SIGHUP, "rotation 1 of 2: "},
		{"kill while it starts", syscall.SIGKILL, "starting workers, 1/3"},
		{"kill in a rotation", syscall.SIGKILL, "rotation 2 of 2: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := startDemo(t, b, "--json")
			d.awaitOutput(t, c.after)
			if err := d.cmd.Process.Signal(c.sig); err != nil {
				t.Fatal(err)
			}
			if status := d.wait(t); status == 0 {
				t.Error("exit status 0")
			}
			d.awaitGone(t)
			if out := d.stdout.String(); out != "" {
				t.Errorf("a demo that was ended printed a result: %q", out)
			}
		})
	}
}

func TestControllersNoticeAMissingOverlap(t *testing.T) {
	dir := t.TempDir()
	if err := build(dir, "rotatessh_nooverlap", everyProgram...); err != nil {
		t.Fatal(err)
	}
	b, err := FindBinaries(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := startDemo(t, b, "--json")
	if status := d.wait(t); status != 1 {
		t.Fatalf("exit status %d, want 1\n%s", status, d.stderr.String())
	}
	if !strings.Contains(d.stderr.String(), "log-ins failed") {
		t.Errorf("it does not say that log-ins failed:\n%s", d.stderr.String())
	}
	t.Logf("%s", d.stderr.String())
}
