package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/keyset"
)

// TestScripts runs every script against a cluster of one worker that is its own. Scripts have these variables: CONFIG, the agent's
// configuration; STATE, its state folder; USER, the managed user; KEYS, that user's authorized_keys; INSTANCE, the worker's ARN.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			s := &script{t: t, pairs: make(map[string]sshdtest.Pair)}
			testscript.Run(t, testscript.Params{Files: []string{file}, Setup: s.setup, RequireExplicitExec: true, Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"exits": exits, "publish": s.publish, "secret": s.secret, "sshd": s.daemon, "acked": s.acked,
			}})
		})
	}
}

// script is the surroundings of one script.
type script struct {
	t     *testing.T
	w     *worker
	pairs map[string]sshdtest.Pair
}

func (s *script) setup(env *testscript.Env) error {
	s.w = newCluster(s.t).newWorker(s.t)
	for _, assignment := range s.w.env {
		name, value, _ := strings.Cut(assignment, "=")
		if name != "HOME" {
			env.Setenv(name, value)
		}
	}
	env.Setenv("PATH", filepath.Dir(s.w.agent)+":"+os.Getenv("PATH"))
	env.Setenv("CONFIG", s.w.config)
	env.Setenv("STATE", filepath.Join(s.w.dir, "state"))
	env.Setenv("USER", s.w.user)
	env.Setenv("KEYS", s.w.keys)
	env.Setenv("INSTANCE", s.w.instance.ARN)
	return nil
}

// exits runs a command and compares its exit status: exits STATUS COMMAND [ARGUMENT…].
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND [ARGUMENT…]")
	}
	err := ts.Exec(args[1], args[2:]...)
	status := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, _ := strconv.Atoi(args[0]); status != want {
		ts.Fatalf("exit status %d, want %d", status, want)
	}
}

// publish makes a keyset current: publish GENERATION STATE=NAME…, with a key pair for every name.
func (s *script) publish(ts *testscript.TestScript, _ bool, args []string) {
	generation, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	k := keyset.Keyset{Generation: generation}
	for i, arg := range args[1:] {
		state, name, _ := strings.Cut(arg, "=")
		if _, ok := s.pairs[name]; !ok {
			s.pairs[name] = sshdtest.NewPair(s.t)
		}
		public := s.pairs[name].Public
		if state == "retired" {
			k.Retired = append(k.Retired, keyset.Retired{Fingerprint: public.Fingerprint(), PublicKey: public})
			continue
		}
		k.Keys = append(k.Keys, key(keyset.State(state), s.pairs[name], i))
		ts.Setenv(strings.ToUpper(name), public.Fingerprint())
	}
	_, err = s.w.tryPublish(k)
	ts.Check(err)
}

// secret makes a text the value of the keyset secret: secret TEXT.
func (s *script) secret(ts *testscript.TestScript, _ bool, args []string) { ts.Check(s.w.put(args[0])) }

// daemon starts or stops the worker's sshd: sshd start, sshd stop.
func (s *script) daemon(ts *testscript.TestScript, _ bool, args []string) {
	switch args[0] {
	case "start":
		s.w.sshd.Start(s.t)
	case "stop":
		s.w.sshd.Stop()
	default:
		ts.Fatalf("usage: sshd start|stop")
	}
}

// acked compares the worker's acknowledgement: acked GENERATION OUTCOME [CODE], or acked nothing.
func (s *script) acked(ts *testscript.TestScript, _ bool, args []string) {
	acks, err := s.w.ledger.Acks(s.t.Context(), secretARN, []string{s.w.instance.ARN}, time.Now())
	ts.Check(err)
	a, ok := acks[s.w.instance.ARN]
	got := "nothing"
	if ok {
		got = strings.TrimSpace(strings.Join([]string{strconv.FormatInt(a.Generation, 10), string(a.Outcome), a.Code}, " "))
	}
	if want := strings.Join(args, " "); got != want {
		ts.Fatalf("acknowledged %q, want %q", got, want)
	}
}
