package sshdconf

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/agent/internal/acceptance"
	"github.com/rotatessh/rotatessh/agent/internal/account"
	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// shell runs a line as an operator would.
func shell(line string) ([]byte, error) {
	return exec.Command("/bin/sh", "-c", line).CombinedOutput()
}

func script(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	sshdtest.WriteFile(t, name, "#!/bin/sh\n"+text+"\n", 0o755)
	return name
}

func TestSettingsDependOnConnection(t *testing.T) {
	user := sshdtest.User(t)
	server := sshdtest.Configure(t,
		"Match User "+user+" Address 10.0.0.0/8", "ForceCommand by address",
		"Match LocalAddress 127.0.0.1 LocalPort 1", "ForceCommand by port",
		"Match Host 192.0.2.9", "ForceCommand by host")
	for source, want := range map[string]string{
		"10.9.9.9": "by address", "192.0.2.9": "by host", "127.0.0.1": "none", "::1": "none",
	} {
		settings, err := inspector(server).Settings(t.Context(), user, source)
		if err != nil {
			t.Fatal(err)
		}
		if got := settings.first("forcecommand"); got != want {
			t.Errorf("from %s: ForceCommand is %q, want %q", source, got, want)
		}
	}
}

func TestSettingsUnavailable(t *testing.T) {
	server := sshdtest.Configure(t)
	broken := sshdtest.Configure(t, "NoSuchKeyword yes")
	user := sshdtest.User(t)
	for name, test := range map[string]struct {
		config       Config
		user, source string
		want         string
	}{
		"not installed":     {Config{Program: "/no/such/sshd", Address: server.Address}, user, "127.0.0.1", "no such file"},
		"no file":           {Config{File: "/no/such/file", Address: server.Address}, user, "127.0.0.1", "No such file"},
		"faulty file":       {Config{File: broken.Config, Address: server.Address}, user, "127.0.0.1", "NoSuchKeyword"},
		"comma in name":     {Config{File: server.Config, Address: server.Address}, user + ",addr=10.0.0.1", "127.0.0.1", "cannot be put"},
		"blank in name":     {Config{File: server.Config, Address: server.Address}, "a b", "127.0.0.1", "cannot be put"},
		"no name":           {Config{File: server.Config, Address: server.Address}, "", "127.0.0.1", "cannot be put"},
		"no address":        {Config{File: server.Config, Address: server.Address}, user, "localhost", "source address"},
		"no port":           {Config{File: server.Config, Address: "127.0.0.1"}, user, "127.0.0.1", "sshd's address"},
		"port that is none": {Config{File: server.Config, Address: "127.0.0.1:ssh"}, user, "127.0.0.1", "port"},
		"endless output":    {Config{Program: script(t, "exec yes"), Address: server.Address}, user, "127.0.0.1", errTooLong.Error()},
		"endless protest":   {Config{Program: script(t, "yes | head -c 100000 >&2; exit 3"), Address: server.Address}, user, "127.0.0.1", "exit status 3"},
	} {
		_, err := New(test.config).Settings(t.Context(), test.user, test.source)
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error is %.300v, want ErrUnavailable with %q", name, err, test.want)
		}
		if err != nil && len(err.Error()) > maxErrors+500 {
			t.Errorf("%s: error has %d bytes", name, len(err.Error()))
		}
	}
}

func TestSettingsStopWithContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	// The child that keeps the pipe open must not hold the call up either.
	i := New(Config{Program: script(t, "sleep 300 & sleep 300"), Address: "127.0.0.1:22"})
	if _, err := i.Settings(ctx, "root", "127.0.0.1"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
		t.Errorf("error is %v, want a passed deadline", err)
	}
}

func TestKeysFiles(t *testing.T) {
	alice := account.Account{Name: "alice", UID: 1000, Home: "/home/alice"}
	for line, want := range map[string][]KeysFile{
		"authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2": {
			{".ssh/authorized_keys", "/home/alice/.ssh/authorized_keys", false},
			{".ssh/authorized_keys2", "/home/alice/.ssh/authorized_keys2", false},
		},
		"authorizedkeysfile /etc/keys/%u//x %h/../k /n/%U": {
			{"/etc/keys/%u//x", "/etc/keys/alice/x", false},
			{"%h/../k", "/home/k", false},
			{"/n/%U", "/n/1000", false},
		},
		"authorizedkeysfile /etc/all /etc/50%%": {{"/etc/all", "/etc/all", true}, {"/etc/50%%", "/etc/50%", true}},
		"authorizedkeysfile none":               nil,
		`authorizedkeysfile "/etc/my keys/%u" x`: {
			{"/etc/my keys/%u", "/etc/my keys/alice", false}, {"x", "/home/alice/x", false},
		},
	} {
		got, err := parseSettings(line + "\n").KeysFiles(alice)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: error %v, files (-want +got):\n%s", line, err, diff)
		}
	}
	for _, pattern := range []string{"/etc/%", "/etc/%f", "%%%"} {
		if got, err := parseSettings("authorizedkeysfile " + pattern).KeysFiles(alice); err == nil {
			t.Errorf("%s: files are %v, want an error", pattern, got)
		}
	}
}

// sshd itself must find the key where KeysFiles says that it looks.
func TestKeysFilesAreThoseOfSSHD(t *testing.T) {
	sshdtest.NeedPrivate(t)
	alice := lookup(t, sshdtest.Alice)
	for _, pattern := range []string{"keys", "%h/keys", "/home/%u/keys", "/run/keys-%u", "/run/%%-%U", "/home/./%u//keys", "/nowhere /home/%u/keys"} {
		server := sshdtest.Configure(t, "AuthorizedKeysFile "+pattern)
		settings, err := inspector(server).Settings(t.Context(), alice.Name, "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		files, err := settings.KeysFiles(alice)
		if err != nil {
			t.Fatal(err)
		}
		pair := sshdtest.NewPair(t)
		file := files[len(files)-1]
		sshdtest.WriteFile(t, file.Path, pair.Public.String()+"\n", 0o644)
		server.Start(t)
		got, err := acceptance.New(acceptance.Config{Address: server.Address, HostKeyFiles: server.HostKeyFiles}).Ask(
			t.Context(), acceptance.Question{User: alice.Name, Accept: []keyset.PublicKey{pair.Public}})
		if err != nil || got.Answers[0].Accepted != ledger.Yes {
			t.Errorf("%s: sshd does not read %s: %+v, %v", pattern, file.Path, got.Answers, err)
		}
		if file.Shared {
			t.Errorf("%s counts as shared", pattern)
		}
	}
}

func TestFileIsFoundThroughLinkedFolder(t *testing.T) {
	folder := t.TempDir()
	real := filepath.Join(folder, "real")
	if output, err := shell("mkdir " + real + " && ln -s real " + folder + "/link"); err != nil {
		t.Fatal(err, string(output))
	}
	for pattern, want := range map[string]bool{
		real + "/keys": true, folder + "/link/keys": true, folder + "/link/other": false, folder + "/gone/keys": false,
		real + "/k*s": true, real + "/*.pub": false,
	} {
		if got := (KeysFile{Path: pattern}).reads(filepath.Join(real, "keys")); got != want {
			t.Errorf("%s is the file: %v, want %v", pattern, got, want)
		}
	}
}

func TestHashTellsSettingsApart(t *testing.T) {
	user := sshdtest.User(t)
	hash := func(lines ...string) string {
		server := sshdtest.Configure(t, append(lines, "AuthorizedKeysFile /k/%u")...)
		settings, err := inspector(server).Settings(t.Context(), user, "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		return Hash(map[string]Settings{user: settings})
	}
	plain := hash()
	if len(plain) != 64 || plain != hash() {
		t.Errorf("two machines alike have the hashes %q and %q", plain, hash())
	}
	if plain == hash("MaxAuthTries 3") {
		t.Error("another setting gives the same hash")
	}
	if Hash(nil) != "" {
		t.Error("no settings have a hash")
	}
}

func TestInspectWithoutSSHD(t *testing.T) {
	sshdtest.NeedPrivate(t)
	i := New(Config{Program: "/no/such/sshd", Address: "127.0.0.1:22"})
	expired := lookup(t, sshdtest.Expired)
	report, err := i.Inspect(t.Context(), Subject{Account: expired, File: "/run/nowhere/keys"})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("error is %v, want ErrUnavailable", err)
	}
	if f, ok := report.Find(CodeExpired); !ok || !f.Fault() || f.Fix != "chage -E -1 expired" {
		t.Errorf("findings are %+v, want that the account has expired", report.Findings)
	}
}

func TestInspectNotesNoLogin(t *testing.T) {
	sshdtest.NeedPrivate(t)
	server := sshdtest.Configure(t)
	sshdtest.WriteFile(t, "/etc/nologin", "maintenance\n", 0o644)
	defer shell("rm /etc/nologin")
	for user, want := range map[string]bool{sshdtest.Alice: true, "root": false} {
		server.Allow(t, user, "")
		report, err := inspector(server).Inspect(t.Context(), Subject{Account: lookup(t, user), File: server.KeysFile(user)})
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := report.Find(CodeNoLogin); ok != want || f.Fault() && ok {
			t.Errorf("%s: findings are %+v, want a note: %v", user, report.Findings, want)
		}
	}
}

func TestRevokedKeysThatCannotBeRead(t *testing.T) {
	pair := sshdtest.NewPair(t)
	subject := Subject{Keys: []keyset.PublicKey{pair.Public}}
	name := filepath.Join(t.TempDir(), "revoked")
	settings := parseSettings("revokedkeys " + name + "\n")
	if found := settings.checkRevoked(subject); len(found) != 1 || found[0].Weight != Explains {
		t.Errorf("without the file: findings are %+v, want that sshd refuses every key", found)
	}
	sshdtest.WriteFile(t, name, "SSHKRL\n\x00\x00", 0o644)
	if found := settings.checkRevoked(subject); len(found) != 1 || found[0].Weight != Notes {
		t.Errorf("with a binary list: findings are %+v, want a note", found)
	}
}

func TestOptionValue(t *testing.T) {
	for _, test := range []struct{ options, name, want string }{
		{`from="10.0.0.0/8"`, "from", "10.0.0.0/8"},
		{`restrict,FROM="a,b",pty`, "from", "a,b"},
		{`command="echo \"a,b\", from=\"x\"",from="y"`, "from", "y"},
		{`command="echo \"a,b\", from=\"x\""`, "command", `echo "a,b", from="x"`},
		{`environment="from=z"`, "from", ""},
		{"restrict", "from", ""},
		{"", "from", ""},
	} {
		if got, ok := optionValue(test.options, test.name); got != test.want || ok != (test.want != "") {
			t.Errorf("%s in %s is %q, %v, want %q", test.name, test.options, got, ok, test.want)
		}
	}
}

func TestJudgeRefused(t *testing.T) {
	elsewhere := Report{Findings: []Finding{{Code: CodeSource, Weight: Elsewhere, Message: "m"}}}
	broken := Report{Findings: []Finding{{Code: CodeRoot, Weight: Denies}, {Code: CodeModes, Weight: Explains}, {Code: CodeCommand, Weight: Doubts}}}
	for _, test := range []struct {
		report    Report
		got, want ledger.Accepted
	}{
		{Report{}, ledger.No, ledger.No}, {Report{}, ledger.Yes, ledger.Yes}, {Report{}, ledger.Unverified, ledger.Unverified},
		{elsewhere, ledger.No, ledger.Unverified}, {elsewhere, ledger.Yes, ledger.Yes}, {elsewhere, ledger.Unverified, ledger.Unverified},
		{broken, ledger.No, ledger.No}, {broken, ledger.Yes, ledger.Yes},
	} {
		if got, _ := test.report.JudgeRefused(test.got, "w"); got != test.want {
			t.Errorf("%q with %+v becomes %q, want %q", test.got, test.report.Findings, got, test.want)
		}
	}
}
