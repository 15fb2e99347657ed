package push_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/rotator/internal/push"
)

const secretARN = "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh-AbCdEf"

func newKey(t *testing.T) keyset.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	converted, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := keyset.NewPublicKey(converted)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// machine is a home on which scripts run, with an sshd that tells its settings and an account.
type machine struct {
	t          *testing.T
	shell      string
	dir        string
	home, file string
	user       string
	env        []string
	keys       []keyset.PublicKey
	retired    []keyset.PublicKey
}

func newMachine(t *testing.T, shell string) *machine {
	t.Helper()
	path, err := exec.LookPath(shell)
	if err != nil {
		t.Skip("not run: there is no " + shell)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, shell: path, dir: t.TempDir(), user: me.Username, keys: []keyset.PublicKey{newKey(t), newKey(t)}, retired: []keyset.PublicKey{newKey(t)}}
	m.prepare(me.Uid)
	return m
}

// prepare makes the home, and programs that stand for the machine's.
func (m *machine) prepare(uid string) {
	m.home = filepath.Join(m.dir, "home")
	m.file = filepath.Join(m.home, ".ssh", "authorized_keys")
	for _, dir := range []string{m.home, filepath.Dir(m.file)} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(m.dir, "bin"), 0o755); err != nil {
		m.t.Fatal(err)
	}
	m.program("sshd", "printf 'port 2222\\nauthorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2\\nhostkey "+m.dir+"/host\\nhostkey /nowhere\\n'")
	m.program("getent", "echo '"+m.user+":x:"+uid+":0::"+m.home+":/bin/sh'")
	m.write(filepath.Join(m.dir, "host.pub"), "ssh-ed25519 AAAAhostkey root@machine\n")
	// Only what the script needs, and no agent that this machine may have.
	for tool := range strings.FieldsSeq("sh awk base64 mktemp cmp head tail tr cat cp mv rm mkdir find ls sed sha256sum sync id wc chmod runuser") {
		path, err := exec.LookPath(tool)
		if err != nil {
			m.t.Skip("not run: there is no " + tool)
		}
		if err := os.Symlink(path, filepath.Join(m.dir, "bin", tool)); err != nil {
			m.t.Fatal(err)
		}
	}
	m.env = []string{"PATH=" + m.dir + "/bin"}
}

func (m *machine) program(name, body string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, "bin", name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) write(file, content string) {
	m.t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read() string {
	m.t.Helper()
	content, err := os.ReadFile(m.file)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(content)
}

func (m *machine) document() push.Document {
	k := keyset.Keyset{Schema: keyset.Schema, SecretARN: secretARN, Generation: 7}
	for i, key := range m.keys {
		k.Keys = append(k.Keys, keyset.Key{State: []keyset.State{keyset.Current, keyset.Pending}[i], VersionID: fmt.Sprintf("v%d", i), PublicKey: key})
	}
	for _, key := range m.retired {
		k.Retired = append(k.Retired, keyset.Retired{Fingerprint: key.Fingerprint(), PublicKey: key})
	}
	return push.New(keystore.Document{ARN: "arn:keyset", VersionID: "d0c-7", Keyset: k}, m.user, time.Now())
}

func (m *machine) block() string {
	b := "# BEGIN rotatessh " + secretARN + " (managed, edits are overwritten)\n"
	for i, key := range m.keys {
		b += fmt.Sprintf("%s v%d\n", key, i)
	}
	return b + "# END rotatessh " + secretARN + "\n"
}

func (m *machine) script() string {
	m.t.Helper()
	script, err := m.document().Script()
	if err != nil {
		m.t.Fatal(err)
	}
	return script
}

func (m *machine) command(ctx context.Context, script string) *exec.Cmd {
	file := filepath.Join(m.dir, "script.sh")
	m.write(file, script)
	cmd := exec.CommandContext(ctx, m.shell, file)
	cmd.Env, cmd.Dir = m.env, m.dir
	return cmd
}

// run runs the script and gives what the rotator would read.
func (m *machine) run() push.Result {
	m.t.Helper()
	cmd := m.command(m.t.Context(), m.script())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	r := m.document().Parse(string(out))
	if (err == nil) == (r.Outcome == push.Failed) {
		m.t.Errorf("outcome is %+v and the script ended with %v\n%s%s", r, err, out, &stderr)
	}
	if stderr.Len() > 0 {
		m.t.Errorf("the script complains: %s", &stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(m.file), ".rotatessh-tmp-*")); len(left) > 0 {
		m.t.Errorf("left over: %v", left)
	}
	return r
}

func eachShell(t *testing.T, f func(*testing.T, *machine)) {
	t.Helper()
	for _, shell := range []string{"dash", "bash"} {
		t.Run(shell, func(t *testing.T) { f(t, newMachine(t, shell)) })
	}
}

func TestForeignBytesSurvive(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, m *machine) {
		foreign, retired := newKey(t), m.retired[0]
		long := strings.Repeat("x", 20000)
		other := "# BEGIN rotatessh arn:other (managed)\nssh-ed25519 AAAAother x\n# END rotatessh arn:other\n"
		broad := "  \t no-pty,command=\"echo \\\"a b\\\" # c\"   " + foreign.String() + "  back\\slash \t\n"
		for _, c := range []struct{ name, before, after string }{
			{"no file yet", "\x00", m.block()},
			{"empty", "", m.block()},
			{"foreign lines", broad + "\n# a comment\r\n", broad + "\n# a comment\r\n" + m.block()},
			{"no final newline", foreign.String(), foreign.String() + "\n" + m.block()},
			{"carriage returns", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n" + m.block()},
			{"the block itself", broad + m.block() + "tail", broad + m.block() + "tail"},
			{"an old block in the middle", broad + "# BEGIN rotatessh " + secretARN + " x\nssh-ed25519 AAAAold v\n\t# END rotatessh " + secretARN + "\r\ntail\xff\xfe", broad + m.block() + "tail\xff\xfe"},
			{"another secret's block", other, other + m.block()},
			{"a long line", long + "\n", long + "\n" + m.block()},
			{"a retired key appended by hand", "a\n" + retired.String() + " x\r\n" + "from=\"10.*\" " + retired.String() + "\nb\n", "a\nb\n" + m.block()},
			{"a retired key in a comment or behind another", "#" + retired.String() + "\n" + foreign.String() + " " + retired.String() + "\n", "#" + retired.String() + "\n" + foreign.String() + " " + retired.String() + "\n" + m.block()},
			{"only a retired key", retired.String(), m.block()},
		} {
			if c.before == "\x00" {
				_ = os.Remove(m.file)
			} else {
				m.write(m.file, c.before)
			}
			r := m.run()
			if got := m.read(); got != c.after {
				t.Errorf("%s: (-want +got)\n%s", c.name, cmp.Diff(c.after, got))
			}
			want := push.Applied
			if c.before == c.after {
				want = push.Unchanged
			}
			if r.Outcome != want || len(r.Held) != 2 || r.Port != 2222 || r.File != m.file {
				t.Errorf("%s: %+v", c.name, r)
			}
			if diff := cmp.Diff([]string{"ssh-ed25519 AAAAhostkey"}, r.HostKeys); diff != "" {
				t.Errorf("%s: host keys %s", c.name, diff)
			}
			if again := m.run(); again.Outcome != push.Unchanged || m.read() != c.after {
				t.Errorf("%s, again: %+v", c.name, again)
			}
		}
	})
}

func TestMissingFolderIsMade(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, m *machine) {
		if err := os.Remove(filepath.Dir(m.file)); err != nil {
			t.Fatal(err)
		}
		if r := m.run(); r.Outcome != push.Applied || m.read() != m.block() {
			t.Errorf("%+v", r)
		}
		for path, want := range map[string]os.FileMode{m.file: 0o600, filepath.Dir(m.file): 0o700 | os.ModeDir} {
			if info, err := os.Stat(path); err != nil || info.Mode() != want {
				t.Errorf("%s: %v, %v", path, info, err)
			}
		}
	})
}

func TestModeIsKept(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, m *machine) {
		m.write(m.file, "a\n")
		if err := os.Chmod(m.file, 0o640); err != nil {
			t.Fatal(err)
		}
		r := m.run()
		if info, err := os.Stat(m.file); err != nil || info.Mode() != 0o640 || r.Outcome != push.Applied {
			t.Errorf("%v, %v, %+v", info.Mode(), err, r)
		}
	})
}

func TestWhatIsNotSafeToTouchIsLeftAlone(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, m *machine) {
		elsewhere := filepath.Join(m.dir, "elsewhere")
		for _, c := range []struct {
			code string
			make func() error
		}{
			{"symlink", func() error { return os.Symlink(elsewhere, m.file) }},
			{"symlink", func() error { return os.Symlink("/nowhere", m.file) }},
			{"hard-link", func() error { return os.Link(elsewhere, m.file) }},
			{"not-regular", func() error { return syscall.Mkfifo(m.file, 0o600) }},
			{"not-regular", func() error { return os.Mkdir(m.file, 0o700) }},
			{"not-text", func() error { return os.WriteFile(m.file, []byte("a\x00b\n"), 0o600) }},
			{"markers", func() error {
				return os.WriteFile(m.file, []byte("# BEGIN rotatessh "+secretARN+"\nssh-rsa AAAA mine\n"), 0o600)
			}},
			{"markers", func() error { return os.WriteFile(m.file, []byte(m.block()+m.block()), 0o600) }},
			{"symlink", func() error {
				if err := os.Remove(filepath.Dir(m.file)); err != nil {
					return err
				}
				return os.Symlink(m.dir, filepath.Dir(m.file))
			}},
		} {
			m.write(elsewhere, "precious\n")
			_ = os.RemoveAll(m.file)
			if err := c.make(); err != nil {
				t.Fatal(err)
			}
			before := content(m.file)
			r := m.run()
			if r.Outcome != push.Failed || r.Code != c.code || !strings.Contains(r.Message, m.file) && c.code != "symlink" {
				t.Errorf("%s: %+v", c.code, r)
			}
			if after := content(m.file); before != after {
				t.Errorf("%s: the file is now %q", c.code, after)
			}
			if got := content(elsewhere); got != "precious\n" {
				t.Errorf("%s: elsewhere is now %q", c.code, got)
			}
		}
	})
}

// content is that of a plain file, or what there is instead.
func content(file string) string {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() {
		return fmt.Sprint(info != nil && info.IsDir(), err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// A script that is killed at any time leaves the old file or the new one, and the next run completes it.
func TestAnInterruptedRunLeavesAWholeFile(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, m *machine) {
		old := "a\r\nb"
		whole := map[string]bool{old: true, old + "\n" + m.block(): true}
		script := m.script()
		for after := time.Duration(0); after < 60*time.Millisecond; after += 3 * time.Millisecond {
			m.write(m.file, old)
			cmd := m.command(t.Context(), script)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after)
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
			if got := m.read(); !whole[got] {
				t.Errorf("killed after %v: the file is %q", after, got)
			}
		}
		left, _ := filepath.Glob(filepath.Join(filepath.Dir(m.file), ".rotatessh-tmp-*"))
		for _, file := range left { // as the next run does once they are old
			if err := os.Chtimes(file, time.Now().Add(-2*time.Hour), time.Now().Add(-2*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d temporary files were left over", len(left))
		if r := m.run(); r.Outcome == push.Failed || !whole[m.read()] || m.read() == old {
			t.Errorf("the next run: %+v", r)
		}
	})
}

func TestADamagedScriptChangesNothing(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, m *machine) {
		m.write(m.file, "a\n")
		script := m.script()
		at := strings.Index(script, "<<'DOCUMENT'")
		at += strings.IndexByte(script[at:], '\n') + 1
		encoded := script[at : at+strings.Index(script[at:], "\nDOCUMENT")]
		text, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(encoded, "\n", ""))
		if err != nil {
			t.Fatal(err)
		}
		// One letter of a key is another one, and the document of the right form.
		text = bytes.Replace(text, []byte("AAAAC3NzaC1lZDI1NTE5AAAAI"), []byte("AAAAC3NzaC1lZDI1NTE5AAAAJ"), 1)
		for _, damaged := range []string{
			strings.Replace(script, encoded, base64.StdEncoding.EncodeToString(text), 1),
			script[:at] + "!!!!" + script[at:], script[:at] + script[at+76:], script[:at] + "cm90YXRlc3NoLXB1c2ggMQo=\n" + script[at:], script[:at] + "DOCUMENT\n" + script[at:],
		} {
			out, err := m.command(t.Context(), damaged).Output()
			if r := m.document().Parse(string(out)); err == nil || r.Code != "document" || m.read() != "a\n" {
				t.Errorf("%+v, %v, %q", r, err, m.read())
			}
		}
	})
}

func TestAnAgentIsWokenAndItsFileLeftAlone(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, m *machine) {
		m.write(m.file, "a\n")
		m.program("systemctl", "exit 1")
		m.program("rotatessh-agent", `[ "$1" = once ] && echo ran >> `+m.dir+"/ran")
		if r := m.run(); r.Outcome != push.Nudged || m.read() != "a\n" {
			t.Errorf("%+v, %q", r, m.read())
		}
		if ran, err := os.ReadFile(filepath.Join(m.dir, "ran")); err != nil || string(ran) != "ran\n" {
			t.Errorf("the agent ran %q, %v", ran, err)
		}
		m.program("rotatessh-agent", "exit 1")
		if r := m.run(); r.Outcome != push.Failed || r.Code != "agent" || m.read() != "a\n" {
			t.Errorf("an agent that fails: %+v, %q", r, m.read())
		}
	})
}

func TestAMachineWithoutSSHDOrAccountIsToldSo(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, m *machine) {
		m.program("getent", "exit 2")
		user := m.user
		m.user = "nobody-of-this-name"
		if r := m.run(); r.Code != "no-user" {
			t.Errorf("without the account: %+v", r)
		}
		m.user = user
		m.program("sshd", "exit 255")
		if r := m.run(); r.Code != "no-sshd" {
			t.Errorf("with an sshd that fails: %+v", r)
		}
	})
}

// As root the script becomes the user, and can be led nowhere that the user may not write.
func TestRootWorksAsTheUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("not run: needs root")
	}
	const nobody = 65534
	for _, shell := range []string{"dash", "bash"} {
		t.Run(shell, func(t *testing.T) {
			m := newMachine(t, shell)
			dir, err := os.MkdirTemp("", "push")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			m.dir, m.user = dir, "nobody"
			m.prepare(strconv.Itoa(nobody))
			m.write(m.file, "a\n")
			for _, path := range []string{m.home, filepath.Dir(m.file), m.file} {
				if err := os.Chown(path, nobody, nobody); err != nil {
					t.Fatal(err)
				}
			}
			if r := m.run(); r.Outcome != push.Applied || m.read() != "a\n"+m.block() {
				t.Errorf("%+v, %q", r, m.read())
			}
			info, err := os.Stat(m.file)
			if owner, ok := info.Sys().(*syscall.Stat_t); err != nil || !ok || owner.Uid != nobody {
				t.Errorf("the file is now %+v's", owner)
			}
			m.keys = m.keys[:1]
			if err := os.Chown(m.file, 0, 0); err != nil {
				t.Fatal(err)
			}
			if r := m.run(); r.Code != "owner" && r.Code != "denied" {
				t.Errorf("a file of root's in the user's folder: %+v", r)
			}
		})
	}
}
