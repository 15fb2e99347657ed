package keysync_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/agent/internal/config"
	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
)

const foreign = "# by hand\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f somebody@else\n"

func TestPassWritesAsksAndAcknowledges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.disk.set(aliceFile, foreign)
		old, next := newKey(t), newKey(t)
		m.secret.publish(7, current(old), pending(next))
		m.mustPass(t)

		if got := m.disk.get(aliceFile); !strings.HasPrefix(got, foreign) {
			t.Errorf("foreign lines have changed:\n%s", got)
		}
		if diff := cmp.Diff(prints(old, next), m.block()); diff != "" {
			t.Errorf("block: %s", diff)
		}
		now := m.awsNow()
		want := ledger.Ack{
			Worker: workerARN, SecretARN: secretARN, KeysetARN: keysetARN, KeysetVersionID: m.secret.version, Generation: 7, Pass: 1,
			Outcome: ledger.Applied, AgentVersion: "v1", Port: 22, Banner: "SSH-2.0-OpenSSH_9.9", HostKeys: []string{"ssh-ed25519 AAAAhost"},
			AppliedAt: now, ReportedAt: now, ExpiresAt: now.Add(7 * 24 * time.Hour).Unix(),
			Users: []ledger.User{{Name: "alice", File: aliceFile, Fingerprints: prints(old, next), Keys: []ledger.KeyStatus{
				{Fingerprint: old.Fingerprint(), State: "current", Accepted: ledger.Yes},
				{Fingerprint: next.Fingerprint(), State: "pending", Accepted: ledger.Yes},
			}}},
		}
		if diff := cmp.Diff(want, m.table.last(t)); diff != "" {
			t.Errorf("acknowledgement: %s", diff)
		}
	})
}

func TestNothingPublishedIsNoFaultAndWritesNothing(t *testing.T) {
	m := newMachine(t)
	m.disk.set(aliceFile, foreign)
	m.mustPass(t)
	if m.disk.get(aliceFile) != foreign || m.disk.writes != 0 {
		t.Error("the file was written")
	}
	if m.table.count() != 0 {
		t.Error("something was acknowledged")
	}
	if s := m.reports.last(); s.Outcome != "" || s.Failures != 0 {
		t.Errorf("status %+v", s)
	}
}

func TestUnusableKeysetChangesNothingAndIsAcknowledged(t *testing.T) {
	_, malformed := keyset.Parse([]byte(`{"schema":"rotatessh.keyset/v1","keys":3}`))
	_, future := keyset.Parse([]byte(`{"schema":"rotatessh.keyset/v9"}`))
	for name, tc := range map[string]struct {
		err  error
		code string
	}{
		"malformed":   {malformed, "keyset-malformed"},
		"unknown":     {future, "keyset-schema"},
		"emptied":     {keyset.ErrEmpty, keysync.CodeEmpty},
		"denied":      {keystore.ErrDenied, keysync.CodeDenied},
		"no secret":   {keystore.ErrNotFound, keysync.CodeNotFound},
		"unreachable": {errors.New("dial tcp: i/o timeout"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.disk.set(aliceFile, foreign)
			k := newKey(t)
			m.secret.publish(3, current(k))
			m.mustPass(t)
			before := m.disk.get(aliceFile)

			m.secret.fail(tc.err)
			if err := m.Pass(t.Context()); !errors.Is(err, tc.err) {
				t.Errorf("error %v, want %v", err, tc.err)
			}
			if m.disk.get(aliceFile) != before {
				t.Error("the file has changed")
			}
			last := m.table.last(t)
			if tc.code == "" {
				if m.table.count() != 1 {
					t.Errorf("one failed read was acknowledged: %+v", last)
				}
				return
			}
			if last.Outcome != ledger.Failed || last.Code != tc.code || last.Generation != 3 || last.KeysetVersionID != m.secret.version {
				t.Errorf("acknowledged %+v, want code %s", last, tc.code)
			}

			m.secret.publish(4, current(k))
			m.mustPass(t)
			if last := m.table.last(t); last.Outcome != ledger.Applied || last.Generation != 4 {
				t.Errorf("after the repair: %+v", last)
			}
		})
	}
}

func TestFirstKeysetIsUnusable(t *testing.T) {
	m := newMachine(t)
	m.disk.set(aliceFile, foreign)
	_, bad := keyset.Parse([]byte(`[]`))
	m.secret.fail(bad)
	if err := m.Pass(t.Context()); keyset.CodeOf(err) != keyset.CodeMalformed {
		t.Errorf("error %v", err)
	}
	if m.disk.get(aliceFile) != foreign {
		t.Error("the file has changed")
	}
	if m.table.count() != 0 {
		t.Error("an acknowledgement without a generation")
	}
	if s := m.reports.last(); s.Outcome != ledger.Failed || s.Code != "keyset-malformed" || s.Failures != 1 {
		t.Errorf("status %+v", s)
	}
}

func TestUnreachableSecretIsAcknowledgedWhenItStaysSo(t *testing.T) {
	m := newMachine(t)
	m.secret.publish(3, current(newKey(t)))
	m.mustPass(t)
	m.secret.fail(errors.New("throttled"))
	for i := 1; i <= 3; i++ {
		if m.Pass(t.Context()) == nil {
			t.Fatal("a pass that could not read succeeded")
		}
		if got, want := m.table.last(t).Code, map[bool]string{true: keysync.CodeUnreachable}[i == 3]; got != want {
			t.Errorf("after %d failures: code %q, want %q", i, got, want)
		}
	}
}

func TestGenerationRules(t *testing.T) {
	a, b := newKey(t), newKey(t)
	for name, tc := range map[string]struct {
		generation int64
		key        keyset.PublicKey
		code       string // "" when it is to be followed
	}{
		"the same again":     {10, a, ""},
		"the next":           {11, b, ""},
		"lower":              {9, b, keysync.CodeLower},
		"lower, same key":    {9, a, keysync.CodeLower},
		"same, other key":    {10, b, keysync.CodeConflict},
		"a million above":    {1_000_010, b, ""},
		"a million and one":  {1_000_011, b, keysync.CodeJump},
		"the largest of all": {keyset.MaxGeneration, b, keysync.CodeJump},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " after a restart"}[restart], func(t *testing.T) {
				m := newMachine(t)
				m.secret.publish(10, current(a))
				m.mustPass(t)
				before := m.disk.get(aliceFile)
				if restart {
					m.restart(t)
				}
				m.secret.publish(tc.generation, current(tc.key))
				err := m.Pass(t.Context())
				last := m.table.last(t)
				if tc.code == "" {
					if err != nil || last.Generation != tc.generation || last.Outcome != ledger.Applied || !slices.Equal(m.block(), prints(tc.key)) {
						t.Errorf("not followed: %v, %+v", err, last)
					}
					return
				}
				var f *keysync.Fault
				if !errors.As(err, &f) || f.Code != tc.code {
					t.Errorf("error %v, want code %s", err, tc.code)
				}
				if m.disk.get(aliceFile) != before {
					t.Error("the file has changed")
				}
				if last.Outcome != ledger.Failed || last.Code != tc.code || last.Generation != 10 || last.KeysetVersionID != m.secret.version || last.SecretARN != secretARN {
					t.Errorf("acknowledged %+v", last)
				}
			})
		}
	}
}

func TestGenerationsStartAfreshFor(t *testing.T) {
	a, b := newKey(t), newKey(t)
	for name, change := range map[string]func(*machine){
		"another instance":        func(m *machine) { m.cfg.Worker = workerARN[:len(workerARN)-1] + "f" },
		"a re-created secret":     func(m *machine) { m.secret.arn = keysetARN[:len(keysetARN)-6] + "ZzZzZz" },
		"the same, for a control": nil,
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.secret.publish(10, current(a))
			m.mustPass(t)
			if change != nil {
				change(m)
				m.table.acks = nil // theirs is another item
			}
			m.restart(t)
			m.secret.publish(2, current(b))
			err := m.Pass(t.Context())
			if followed := err == nil && slices.Equal(m.block(), prints(b)); followed != (change != nil) {
				t.Errorf("followed: %v, error: %v", followed, err)
			}
		})
	}
}

func TestFullDiskUnderTheStateFolderDoesNotStopTheKeys(t *testing.T) {
	m := newMachine(t)
	m.secret.publish(5, current(newKey(t)))
	m.stateDir = "/proc/no/such/folder"
	m.restart(t)
	if err := m.Pass(t.Context()); err == nil {
		t.Error("a generation that was not saved is no fault")
	}
	if last := m.table.last(t); last.Outcome != ledger.Applied {
		t.Errorf("acknowledged %+v", last)
	}
	m.secret.publish(4, current(newKey(t)))
	if err := m.Pass(t.Context()); err == nil || m.table.last(t).Code != keysync.CodeLower {
		t.Errorf("the generation was not remembered within the run: %v", err)
	}
}

func TestOneBadUserDoesNotStopTheOthers(t *testing.T) {
	m := newMachine(t)
	m.cfg.Users = []config.User{{Name: "ghost"}, {Name: "full"}, {Name: "alice"}, {Name: "bob"}, {Name: "twin"}, {Name: "spread", File: "/etc/ssh/everybody"}}
	m.accounts.add("full", "/home/full")
	m.accounts.add("bob", "/home/bob")
	m.accounts.add("twin", "/home/bob")
	m.accounts.add("spread", "/home/spread")
	m.disk.errs["/home/full/.ssh/authorized_keys"] = &codedError{"no-space"}
	m.restart(t)
	k := newKey(t)
	m.secret.publish(1, current(k))
	err := m.Pass(t.Context())
	for _, part := range []string{"ghost", "full", "twin", "spread"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
	last := m.table.last(t)
	codes := make(map[string]string)
	for _, u := range last.Users {
		codes[u.Name] = u.Code
	}
	want := map[string]string{
		"ghost": keysync.CodeUnknownUser, "full": "no-space", "alice": "", "bob": "", "twin": keysync.CodeSharedFile, "spread": keysync.CodeSharedFile,
	}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Errorf("codes: %s", diff)
	}
	if last.Outcome != ledger.Failed || last.Code != keysync.CodeUnknownUser {
		t.Errorf("outcome %s, code %s", last.Outcome, last.Code)
	}
	for _, u := range last.Users {
		if u.Code == "" && !slices.Equal(u.Fingerprints, prints(k)) {
			t.Errorf("%s has %v", u.Name, u.Fingerprints)
		}
	}
	if m.disk.get("/etc/ssh/everybody") != "" {
		t.Error("a file for every account was written")
	}
}

type codedError struct{ code string }

func (e *codedError) Error() string       { return "no space left on device" }
func (e *codedError) FailureCode() string { return e.code }

func TestFileChangedDuringTheCheckIsNotApplied(t *testing.T) {
	m := newMachine(t)
	k := newKey(t)
	m.secret.publish(1, current(k))
	m.disk.onRead = func(path string) {
		m.disk.files[path] = strings.Replace(m.disk.files[path], "ssh-ed25519", "ssh-gone", 1)
	}
	if err := m.Pass(t.Context()); err == nil {
		t.Error("the pass succeeded")
	}
	if last := m.table.last(t); last.Outcome != ledger.Failed || last.Code != keysync.CodeDrift || len(last.Users[0].Fingerprints) != 0 {
		t.Errorf("acknowledged %+v", last)
	}
	m.disk.onRead = nil
	m.mustPass(t)
	if last := m.table.last(t); last.Outcome != ledger.Applied || !slices.Equal(last.Users[0].Fingerprints, prints(k)) {
		t.Errorf("acknowledged %+v", last)
	}
}

func TestLineBeforeTheBlockWithOtherOptions(t *testing.T) {
	m := newMachine(t)
	k := newKey(t)
	m.disk.set(aliceFile, `command="/bin/false" `+k.String()+"\n")
	m.secret.publish(1, current(k))
	if err := m.Pass(t.Context()); err == nil {
		t.Error("the pass succeeded")
	}
	if last := m.table.last(t); last.Outcome != ledger.Failed || last.Code != keysync.CodeShadowed {
		t.Errorf("acknowledged %+v", last)
	}
}

func TestWhatSSHDSaysDecides(t *testing.T) {
	old, next, gone := newKey(t), newKey(t), newKey(t)
	for name, tc := range map[string]struct {
		prepare func(*server)
		code    string
		answer  map[string]ledger.Accepted
	}{
		"as it should": {func(*server) {}, "", map[string]ledger.Accepted{
			"current " + old.Fingerprint(): ledger.Yes, "pending " + next.Fingerprint(): ledger.Yes, "retired " + gone.Fingerprint(): ledger.No,
		}},
		"refuses the pending key": {func(s *server) { s.refuses[next.Fingerprint()] = true }, keysync.CodeNotAccepted, map[string]ledger.Accepted{
			"current " + old.Fingerprint(): ledger.Yes, "pending " + next.Fingerprint(): ledger.No, "retired " + gone.Fingerprint(): ledger.No,
		}},
		"accepts the retired key": {func(s *server) { s.elsewhere[gone.Fingerprint()] = true }, keysync.CodeRetiredAccepted, map[string]ledger.Accepted{
			"current " + old.Fingerprint(): ledger.Yes, "pending " + next.Fingerprint(): ledger.Yes, "retired " + gone.Fingerprint(): ledger.Yes,
		}},
		"says nothing": {func(s *server) { s.silent = errors.New("connection closed") }, "", map[string]ledger.Accepted{
			"current " + old.Fingerprint(): ledger.Unverified, "pending " + next.Fingerprint(): ledger.Unverified, "retired " + gone.Fingerprint(): ledger.Unverified,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			tc.prepare(m.server)
			m.secret.publishRetired(5, retired(gone), current(old), pending(next))
			err := m.Pass(t.Context())
			last := m.table.last(t)
			if (err == nil) != (name == "as it should") {
				t.Errorf("error %v", err)
			}
			if last.Code != tc.code || (last.Outcome == ledger.Applied) != (tc.code == "") {
				t.Errorf("outcome %s, code %q, want %q", last.Outcome, last.Code, tc.code)
			}
			sameAnswers(t, last.Users[0], tc.answer)
		})
	}
}

func TestRemovalsOutsideTheBlockAreAcknowledged(t *testing.T) {
	m := newMachine(t)
	k, gone, kept := newKey(t), newKey(t), newKey(t)
	m.cfg.Protect = prints(kept)
	m.restart(t)
	m.disk.set(aliceFile, gone.String()+" appended\n"+kept.String()+" break glass\n")
	m.secret.publishRetired(2, append(retired(gone), keyset.Retired{Fingerprint: kept.Fingerprint()}), current(k))
	m.mustPass(t)
	if got := m.disk.get(aliceFile); strings.Contains(got, gone.String()) || !strings.Contains(got, kept.String()+" break glass\n") {
		t.Errorf("file:\n%s", got)
	}
	first := m.table.last(t)
	if want := "removed outside the managed block: " + gone.Fingerprint(); first.Users[0].Message != want || first.Outcome != ledger.Applied {
		t.Errorf("acknowledged %+v", first)
	}
	m.mustPass(t)
	if m.table.count() != 1 {
		t.Errorf("acknowledged again though nothing changed: %+v", m.table.last(t))
	}
	again := newKey(t)
	m.secret.publishRetired(3, append(retired(gone), keyset.Retired{Fingerprint: again.Fingerprint()}), current(k))
	m.mustPass(t)
	if last := m.table.last(t); last.Users[0].Message != "" {
		t.Errorf("the removal still stands in generation 3: %+v", last)
	}
	m.disk.set(aliceFile, m.disk.get(aliceFile)+again.String()+"\n")
	m.mustPass(t)
	if last := m.table.last(t); !strings.Contains(last.Users[0].Message, again.Fingerprint()) {
		t.Errorf("the later removal is not acknowledged: %+v", last)
	}
}

func TestFilePatternAndOptions(t *testing.T) {
	m := newMachine(t)
	m.cfg.Users = []config.User{{Name: "alice", File: "/etc/ssh/keys/%u", Options: `from="10.0.0.0/8",restrict`}}
	m.restart(t)
	k := newKey(t)
	m.secret.publish(1, current(k))
	m.mustPass(t)
	if got, want := m.disk.get("/etc/ssh/keys/alice"), `from="10.0.0.0/8",restrict `+k.String()+" 0000"; !strings.Contains(got, want) {
		t.Errorf("file:\n%s", got)
	}
	if f := m.table.last(t).Users[0].File; f != "/etc/ssh/keys/alice" {
		t.Errorf("acknowledged file %q", f)
	}
}

func TestPassNumberGoesOnAfterARestart(t *testing.T) {
	m := newMachine(t)
	m.secret.publish(1, current(newKey(t)))
	m.mustPass(t)
	m.restart(t)
	m.mustPass(t)
	if last := m.table.last(t); last.Pass != 2 {
		t.Errorf("pass %d after a restart, want 2", last.Pass)
	}
	m.server.do(func() { m.server.silent = errors.New("closed") })
	if m.Pass(t.Context()) == nil {
		t.Error("an unanswered question is no fault")
	}
	if last := m.table.last(t); last.Pass != 3 {
		t.Errorf("pass %d, want 3", last.Pass)
	}
}

func TestKnownTellsWhereTheBeaconIs(t *testing.T) {
	m := newMachine(t)
	if k := m.Known(); k != (keysync.Known{}) {
		t.Errorf("before the first keyset: %+v", k)
	}
	m.secret.publish(6, current(newKey(t)))
	m.mustPass(t)
	if k := m.Known(); k != (keysync.Known{SecretARN: secretARN, Generation: 6}) {
		t.Errorf("after the first keyset: %+v", k)
	}
	m.restart(t)
	if k := m.Known(); k != (keysync.Known{SecretARN: secretARN}) {
		t.Errorf("after a restart: %+v", k)
	}
}
