package sshdconf

import (
	"os"
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/agent/internal/acceptance"
	"github.com/rotatessh/rotatessh/agent/internal/authkeys"
	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

const (
	controller = "10.20.30.40"
	stranger   = "198.51.100.7"
)

// meaning is a machine on which sshd's bare answer to a query is to be read.
type meaning struct {
	name    string
	user    string // alice unless given
	config  []string
	options string // before the managed key
	// lines is the keys file, in which KEY stands for the managed key with its options and BARE for it without; KEY unless given.
	lines string
	// prepare changes the machine; FILE is the keys file.
	prepare func(t *testing.T, s *sshdtest.Server, file string, key keyset.PublicKey)
	from    []string // controllers; the one above unless given

	answer  ledger.Accepted // sshd's bare answer
	works   bool            // whether a real log-in from here runs the controller's command
	finding Code            // the worst finding, if any
	verdict ledger.Accepted // what the answer comes to
	why     string          // part of the reason
}

func meanings() []meaning {
	const yes, no, unverified = ledger.Yes, ledger.No, ledger.Unverified
	return []meaning{
		{name: "plain", answer: yes, works: true, verdict: yes},
		{name: "root", user: "root", answer: yes, works: true, verdict: yes},
		{name: "options that restrict", options: `restrict,from="127.0.0.0/8,10.0.0.0/8"`, answer: yes, works: true, verdict: yes},

		// sshd answers yes, and the log-in fails or does something else.
		{name: "root kept out", user: "root", config: []string{"PermitRootLogin no"}, answer: yes, finding: CodeRoot, verdict: no, why: "PermitRootLogin is no"},
		{name: "root for commands only", user: "root", config: []string{"PermitRootLogin forced-commands-only"}, answer: yes, finding: CodeRoot, verdict: no},
		{name: "root kept out, other user", config: []string{"PermitRootLogin no"}, answer: yes, works: true, verdict: yes},
		{name: "command on the keys", options: `command="echo forced"`, answer: yes, finding: CodeCommand, verdict: unverified, why: "echo forced"},
		{name: "command for everyone", config: []string{"ForceCommand echo forced"}, answer: yes, finding: CodeCommand, verdict: unverified, why: "echo forced"},
		{name: "second factor", config: []string{"AuthenticationMethods publickey,password"}, answer: yes, finding: CodeMethods, verdict: unverified, why: "publickey,password"},
		{name: "second factor for others", config: []string{"Match User bob", "AuthenticationMethods publickey,password"}, answer: yes, works: true, verdict: yes},
		{name: "key or two factors", config: []string{"AuthenticationMethods password,publickey publickey"}, answer: yes, works: true, verdict: yes},
		{name: "account ended, by PAM", user: sshdtest.Expired, config: []string{"UsePAM yes"}, answer: yes, finding: CodeExpired, verdict: no, why: "has expired"},
		{name: "password too old, by PAM", user: sshdtest.Stale, config: []string{"UsePAM yes"}, answer: yes, finding: CodePasswordExpired, verdict: unverified},
		{name: "locked, by PAM", user: sshdtest.Locked, config: []string{"UsePAM yes"}, answer: yes, works: true, verdict: yes},
		{name: "shell without commands", user: sshdtest.NoShell, answer: yes, finding: CodeShell, verdict: no, why: "runs no commands"},
		{
			name: "key from a command only", lines: "\n", answer: yes, works: true, verdict: unverified, why: "elsewhere than the managed file",
			prepare: func(t *testing.T, s *sshdtest.Server, _ string, key keyset.PublicKey) {
				program := s.Dir + "/keys-command"
				sshdtest.WriteFile(t, program, "#!/bin/sh\necho '"+key.String()+"'\n", 0o755)
				s.Rewrite(t, "AuthorizedKeysCommand "+program, "AuthorizedKeysCommandUser nobody")
			},
		},
		{name: "foreign line in front", lines: "command=\"echo forced\" BARE\nKEY\n", answer: yes, verdict: yes},
		{
			name: "file for everyone", answer: yes, works: true, finding: CodeShared, verdict: unverified,
			prepare: func(t *testing.T, s *sshdtest.Server, file string, _ keyset.PublicKey) {
				s.Rewrite(t, "AuthorizedKeysFile "+file)
			},
		},

		// sshd answers no, and that is so from everywhere.
		{name: "expired line", options: `expiry-time="20200101"`, answer: no, verdict: no},
		{name: "glued line", lines: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBcUAwZmLZRUNrVbHAi3Z9hFUDYDDvVBdaRjROUJ0uWb oldKEY\n", answer: no, verdict: no},
		{name: "locked", user: sshdtest.Locked, answer: no, finding: CodeLocked, verdict: no},
		{name: "account ended", user: sshdtest.Expired, answer: no, finding: CodeExpired, verdict: no},
		{name: "user denied", config: []string{"DenyUsers al*"}, answer: no, finding: CodeUser, verdict: no},
		{name: "user not allowed", config: []string{"AllowUsers bob carol"}, answer: no, finding: CodeUser, verdict: no},
		{name: "group denied", config: []string{"DenyGroups alice"}, answer: no, finding: CodeGroup, verdict: no},
		{name: "group not allowed", config: []string{"AllowGroups wheel"}, answer: no, finding: CodeGroup, verdict: no},
		{name: "group allowed", config: []string{"AllowGroups wheel ali?e"}, answer: yes, works: true, verdict: yes},
		{name: "algorithm", config: []string{"PubkeyAcceptedAlgorithms rsa-sha2-512"}, answer: no, finding: CodeAlgorithm, verdict: no},
		{name: "no keys at all", config: []string{"PubkeyAuthentication no"}, answer: unverified, finding: CodePublickey, verdict: unverified, why: "begin with a public key"},
		{name: "password first", config: []string{"AuthenticationMethods password,publickey"}, answer: unverified, finding: CodeMethods, verdict: unverified},
		{
			name: "revoked key", answer: no, finding: CodeRevoked, verdict: no,
			prepare: func(t *testing.T, s *sshdtest.Server, _ string, key keyset.PublicKey) {
				sshdtest.WriteFile(t, s.Dir+"/revoked", key.String()+"\n", 0o644)
				s.Rewrite(t, "RevokedKeys "+s.Dir+"/revoked")
			},
		},
		{name: "other file", config: []string{"AuthorizedKeysFile /etc/keys/%u .ssh/%u.keys"}, answer: no, finding: CodeNotRead, verdict: no, why: "/etc/keys/alice and /home/alice/.ssh/alice.keys"},
		{name: "file writable by the group", prepare: chmod(0o664), answer: no, finding: CodeModes, verdict: no},
		{name: "file of another user", prepare: chown(sshdtest.Bob), answer: no, finding: CodeModes, verdict: no},
		{name: "file writable, nobody minds", config: []string{"StrictModes no"}, prepare: chmod(0o664), answer: yes, works: true, verdict: yes},
		{name: "file that the user cannot read", prepare: chmod(0o600), answer: no, finding: CodeUnreadable, verdict: no},

		// sshd's answer from here is not its answer to the controller.
		{name: "only the controller's network", config: []string{"AllowUsers bob alice@10.20.0.0/16"}, answer: no, finding: CodeSource, verdict: unverified},
		{name: "only the controller's network, no controller named", config: []string{"AllowUsers alice@10.20.0.0/16"}, from: []string{}, answer: no, finding: CodeSource, verdict: unverified},
		{name: "only another network", config: []string{"AllowUsers alice@10.20.0.0/16"}, from: []string{stranger}, answer: no, finding: CodeUser, verdict: no},
		{name: "only from here", config: []string{"AllowUsers alice@127.*"}, answer: yes, works: true, finding: CodeSource, verdict: unverified},
		{name: "all but the controller", config: []string{"DenyUsers *@10.20.30.*"}, answer: yes, works: true, finding: CodeSource, verdict: unverified},
		{name: "keys for the controller's network", options: `from="10.20.30.*"`, answer: no, finding: CodeSource, verdict: unverified},
		{name: "other file for the controller", config: []string{"Match Address 10.0.0.0/8", "AuthorizedKeysFile none"}, answer: yes, works: true, finding: CodeSource, verdict: unverified, why: "authorizedkeysfile"},
		{name: "other file for all but here", config: []string{"Match Address *,!127.0.0.0/8", "AuthorizedKeysFile none"}, from: []string{}, answer: yes, works: true, finding: CodeSource, verdict: unverified},
		{name: "root kept out from the controller", user: "root", config: []string{"Match Address 10.0.0.0/8", "PermitRootLogin no"}, answer: yes, works: true, finding: CodeSource, verdict: unverified, why: "permitrootlogin"},
		{name: "root kept out from the controller, other user", config: []string{"Match Address 10.0.0.0/8", "PermitRootLogin no"}, answer: yes, works: true, verdict: yes},
		{name: "greeting for the controller", config: []string{"Match Address 10.0.0.0/8", "X11Forwarding yes"}, answer: yes, works: true, verdict: yes},
		{name: "keys that keep the controller out", options: `from="127.0.0.0/8"`, answer: yes, works: true, finding: CodeSource, verdict: no},
	}
}

func chmod(mode os.FileMode) func(*testing.T, *sshdtest.Server, string, keyset.PublicKey) {
	return func(t *testing.T, _ *sshdtest.Server, file string, _ keyset.PublicKey) {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
}

func chown(user string) func(*testing.T, *sshdtest.Server, string, keyset.PublicKey) {
	return func(t *testing.T, _ *sshdtest.Server, file string, _ keyset.PublicKey) {
		a := lookup(t, user)
		if err := os.Chown(file, a.UID, a.GID); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	sshdtest.NeedPrivate(t)
	testMeanings(t)
}

func TestWhatAnAnswerMeansElsewhere(t *testing.T) {
	sshdtest.NeedForeign(t)
	testMeanings(t)
}

func testMeanings(t *testing.T) {
	t.Helper()
	for _, m := range meanings() {
		t.Run(m.name, func(t *testing.T) { m.test(t) })
	}
}

func (m meaning) test(t *testing.T) {
	if m.user == "" {
		m.user = sshdtest.Alice
	}
	if m.from == nil {
		m.from = []string{controller}
	}
	pair := sshdtest.NewPair(t)
	server := sshdtest.Configure(t, m.config...)
	server.Allow(t, m.user, strings.TrimSuffix(m.text(pair.Public), "\n"))
	file := server.KeysFile(m.user)
	if m.prepare != nil {
		m.prepare(t, server, file, pair.Public)
	}
	server.Start(t)

	asked, err := acceptance.New(acceptance.Config{Address: server.Address, HostKeyFiles: server.HostKeyFiles}).Ask(
		t.Context(), acceptance.Question{User: m.user, Accept: []keyset.PublicKey{pair.Public}})
	if err != nil {
		t.Fatal(err)
	}
	answer := asked.Answers[0]
	if answer.Accepted != m.answer {
		t.Errorf("sshd answers %q (%s), want %q", answer.Accepted, answer.Why, m.answer)
	}
	if m.answer == ledger.Yes {
		output, err := server.LogIn(m.user, pair, "echo asked")
		if works := err == nil && output == "asked\n"; works != m.works {
			t.Errorf("log-in gives %q, %v; want that it works: %v", output, err, m.works)
		}
	}

	report, err := inspector(server).Inspect(t.Context(), Subject{
		Account: lookup(t, m.user), File: file, Options: m.options, Keys: []keyset.PublicKey{pair.Public},
		Source: asked.Source, Controllers: m.from,
	})
	if err != nil {
		t.Fatal(err)
	}
	if m.finding == "" && len(report.Findings) > 0 || m.finding != "" && (len(report.Findings) == 0 || report.Findings[0].Code != m.finding) {
		t.Errorf("findings are %+v, want %q first", report.Findings, m.finding)
	}
	verdict, why := report.JudgeAccepted(answer.Accepted, answer.Why, m.readBack(t, file, pair.Public))
	if verdict != m.verdict || !strings.Contains(why, m.why) {
		t.Errorf("verdict is %q because of %q, want %q because of %q", verdict, why, m.verdict, m.why)
	}
	if t.Failed() {
		t.Log(server.Stop())
	}
}

func (m meaning) text(key keyset.PublicKey) string {
	if m.lines == "" {
		m.lines = "KEY\n"
	}
	line := strings.TrimSpace(m.options + " " + key.String())
	return strings.NewReplacer("KEY", line, "BARE", key.String()).Replace(m.lines)
}

// readBack reports whether the key is read from the file again, as a line of its own.
func (m meaning) readBack(t *testing.T, file string, key keyset.PublicKey) bool {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range authkeys.Read(data, "").Foreign {
		if entry.Fingerprint == key.Fingerprint() {
			return true
		}
	}
	return false
}
