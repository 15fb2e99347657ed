package demo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient"
)

// bareFleet has a folder and an sshd to start, and neither an AWS endpoint nor workers.
func bareFleet(t *testing.T) (*Fleet, *Worker) {
	t.Helper()
	sshd, err := findSSHD(t.Context(), "")
	if err != nil {
		t.Skipf("not run: %v", err)
	}
	f, err := holding(newStateDir(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	f.sshd = sshd
	w, err := newWorker(f.folder.path, who.Username, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.sshd.prepare(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	return f, w
}

func TestSSHDAcceptsTheKeyInItsFileAndNoOther(t *testing.T) {
	f, w := bareFleet(t)
	known, err := keypair.Generate(keypair.ED25519)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := keypair.Generate(keypair.ED25519)
	if err != nil {
		t.Fatal(err)
	}
	line := append(w.foreign, known.PublicKey().String()+"\n"...)
	if err := os.WriteFile(w.keysFile(), line, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.startSSHD(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if err := logIn(t.Context(), w, known); err != nil {
		t.Errorf("known key: %v", err)
	}
	if err := logIn(t.Context(), w, stranger); !errors.Is(err, sshclient.ErrAuth) {
		t.Errorf("another key: %v, want a refusal", err)
	}
	if err := refusesAll(t.Context(), w, []keypair.Pair{stranger}); err != nil {
		t.Errorf("a refusal does not count as one: %v", err)
	}
	if err := refusesAll(t.Context(), w, []keypair.Pair{stranger, known}); err == nil {
		t.Error("a key that is accepted counts as refused")
	}
	banner, err := greeting(t.Context(), w.Port)
	if err != nil || !strings.HasPrefix(banner, f.sshd.version) {
		t.Errorf("sshd calls itself %q, %v, and on the command line %q", banner, err, f.sshd.version)
	}
}

func TestOpenLoginsEndWithTheFleet(t *testing.T) {
	f, w := bareFleet(t)
	pair, err := keypair.Generate(keypair.ED25519)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.keysFile(), []byte(pair.PublicKey().String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.startSSHD(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	client, err := sshclient.Dial(t.Context(), w.Target(), pair.Signer())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := client.Run(t.Context(), "trap '' HUP TERM; echo $$ >$HOME/pid; while :; do sleep 1; done")
		ended <- err
	}()
	var pid int
	for pid == 0 {
		data, _ := os.ReadFile(filepath.Join(w.home(), "pid"))
		_, _ = fmt.Sscan(string(data), &pid)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the log-in has not ended")
	}
	if err := syscall.Kill(pid, 0); err == nil && !zombie(pid) {
		t.Errorf("what ran in the log-in still runs as %d", pid)
	}
}

func TestABrokenConnectionProvesNoRefusal(t *testing.T) {
	f, w := bareFleet(t)
	pair, err := keypair.Generate(keypair.ED25519)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprint(conn, "SSH-2.0-OpenSSH_9.2\r\n")
			_ = conn.Close()
		}
	}()
	w.Port = l.Addr().(*net.TCPAddr).Port
	if err := refusesAll(t.Context(), w, []keypair.Pair{pair}); err == nil {
		t.Error("a connection that breaks counts as a refusal")
	}
	if err := f.startSSHD(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	other, err := newWorker(t.TempDir(), w.user, 2)
	if err != nil {
		t.Fatal(err)
	}
	other.Port = w.Port
	if err := refusesAll(t.Context(), other, []keypair.Pair{pair}); err == nil || sshclient.PhaseOf(err) != sshclient.PhaseHostKey {
		t.Errorf("another worker's sshd: %v, want a wrong host key", err)
	}
}

func TestTakenPortIsNoticed(t *testing.T) {
	f, w := bareFleet(t)
	if err := f.startSSHD(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	second, err := newWorker(f.folder.path, w.user, 2)
	if err != nil {
		t.Fatal(err)
	}
	second.Port = w.Port
	if err := os.WriteFile(second.file("sshd_config"), f.sshd.config(second, f.sshd.extra), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.runSSHD(t.Context(), second); !errors.Is(err, errPortTaken) {
		t.Errorf("a second sshd on the port: %v", err)
	}
}

func TestSSHDThatDoesNotStartShowsItsLog(t *testing.T) {
	f, w := bareFleet(t)
	if err := os.Remove(w.hostKeys[0].file); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(w.hostKeys[1].file); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(w.hostKeys[2].file); err != nil {
		t.Fatal(err)
	}
	err := f.startSSHD(t.Context(), w)
	var logged *LoggedError
	if !errors.As(err, &logged) || len(logged.Logs) != 1 || !strings.Contains(strings.Join(logged.Logs[0].Lines, "\n"), "host key") {
		t.Errorf("without host keys: %v, want the end of sshd's log", err)
	}
}

// fakeSSHD is a script in the place of an OpenSSH server.
func fakeSSHD(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sshd")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSettingThatAnSSHDDoesNotKnowIsLeftOut(t *testing.T) {
	const old = `case "$1" in
-V) echo "unknown option -- V"; echo "OpenSSH_9.2p1 Debian-2, OpenSSL 3.0" >&2; exit 1;;
esac
if grep -q PerSourcePenalties "$3"; then
  echo "$3: line 20: Bad configuration option: PerSourcePenalties" >&2; exit 255
fi`
	const recent = `[ "$1" = -V ] && echo "OpenSSH_10.0p2, OpenSSL 3.5" >&2; exit 0`
	for script, penalties := range map[string]bool{old: false, recent: true} {
		s, err := findSSHD(t.Context(), fakeSSHD(t, script))
		if err != nil {
			t.Fatal(err)
		}
		w, err := newWorker(t.TempDir(), "somebody", 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.prepare(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(s.config(w, s.extra)), "PerSourcePenalties no"); got != penalties {
			t.Errorf("%s: PerSourcePenalties is set: %v, want %v", s.version, got, penalties)
		}
	}
}

func TestSSHDThatRefusesItsConfigurationSaysWhy(t *testing.T) {
	s := sshServer{path: fakeSSHD(t, `echo "line 3: no such thing" >&2; exit 255`)}
	w, err := newWorker(t.TempDir(), "somebody", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.prepare(t.Context(), w); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("error is %v", err)
	}
}

func TestSSHDIsFound(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("ROTATESSH_SSHD", "")
	named := fakeSSHD(t, "exit 0")
	if got, err := sshdPath(named); err != nil || got != named {
		t.Errorf("named: %q, %v", got, err)
	}
	if _, err := sshdPath("/nowhere/sshd"); err == nil {
		t.Error("a named sshd that is not there is no error")
	}
	t.Setenv("ROTATESSH_SSHD", named)
	if got, err := sshdPath(""); err != nil || got != named {
		t.Errorf("by the environment: %q, %v", got, err)
	}
	if _, err := findSSHD(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("a program that is no sshd: %v", err)
	}
}

func TestUnpackedSSHDIsToldWhereItsHelpersAre(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{"usr/sbin/sshd", "usr/lib/openssh/sshd-session"} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	want := "SshdSessionPath " + filepath.Join(root, "usr/lib/openssh/sshd-session")
	if got := movedHelpers(filepath.Join(root, "usr/sbin/sshd")); len(got) != 1 || got[0] != want {
		t.Errorf("settings are %q, want %q", got, want)
	}
	if got := movedHelpers("/usr/sbin/sshd"); got != nil {
		t.Errorf("an installed sshd is told %q", got)
	}
}

func TestChildrenGetNothingOfTheUsersAWSSettings(t *testing.T) {
	t.Setenv("AWS_PROFILE", "production")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	for _, pair := range baseEnv() {
		if strings.Contains(pair, "production") || strings.Contains(pair, "AKIA") {
			t.Errorf("environment holds %s", pair)
		}
	}
}
