package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
)

func TestRotationReachesTheFileAndTheLedger(t *testing.T) {
	c := newCluster(t)
	w := c.newWorker(t, "beacon: {interval: 1s}")
	w.sshd.Start(t)
	first, second := sshdtest.NewPair(t), sshdtest.NewPair(t)
	w.start(t)

	c.announce(t, c.publish(t, keyset.Keyset{Generation: 1, Keys: []keyset.Key{key(keyset.Current, first, 1)}}))
	c.ack(t, w.instance.ARN, accepted(1, first))
	mustLogIn(t, w, first)

	c.announce(t, c.publish(t, keyset.Keyset{Generation: 2, Keys: []keyset.Key{key(keyset.Current, first, 1), key(keyset.Pending, second, 2)}}))
	c.ack(t, w.instance.ARN, accepted(2, first, second))
	mustLogIn(t, w, second)

	retiring := key(keyset.Retiring, first, 1)
	retiring.NotAfter = time.Now().Add(3 * time.Second).UTC().Truncate(time.Second)
	c.announce(t, c.publish(t, keyset.Keyset{Generation: 3, Keys: []keyset.Key{key(keyset.Current, second, 2), retiring}}))
	steady := c.ack(t, w.instance.ARN, func(a ledger.Ack) bool {
		return accepted(3, second)(a) && answer(a, first) == ledger.No
	})
	if _, err := w.sshd.LogIn(w.user, first, "true"); err == nil {
		t.Error("the retired key still logs in")
	}
	mustLogIn(t, w, second)
	if steady.Port == 0 || !strings.HasPrefix(steady.Banner, "SSH-2.0-OpenSSH") || len(steady.HostKeys) != 1 || steady.SettingsHash == "" {
		t.Errorf("the acknowledgement lacks what a controller needs: %+v", steady)
	}
	if got := w.file(t); !strings.HasPrefix(got, strings.Join(foreignLines, "\n")+"\n") {
		t.Errorf("foreign lines have changed:\n%s", got)
	}
}

// accepted reports whether an acknowledgement says that the file holds exactly these keys and that sshd accepts them.
func accepted(generation int64, pairs ...sshdtest.Pair) func(ledger.Ack) bool {
	return func(a ledger.Ack) bool {
		if a.Generation != generation || a.Outcome != ledger.Applied || len(a.Users) != 1 || len(a.Users[0].Fingerprints) != len(pairs) {
			return false
		}
		for i, p := range pairs {
			if a.Users[0].Fingerprints[i] != p.Public.Fingerprint() || answer(a, p) != ledger.Yes {
				return false
			}
		}
		return true
	}
}

// answer is what the acknowledgement says about a key.
func answer(a ledger.Ack, p sshdtest.Pair) ledger.Accepted {
	for _, k := range a.Users[0].Keys {
		if k.Fingerprint == p.Public.Fingerprint() {
			return k.Accepted
		}
	}
	return ""
}

func mustLogIn(t *testing.T, w *worker, p sshdtest.Pair) {
	t.Helper()
	out, err := w.sshd.LogIn(w.user, p, "echo in")
	if err != nil || out != "in\n" {
		t.Fatalf("logging in: %q, %v", out, err)
	}
}

// synced starts the worker's sshd and agent and waits for its first acknowledgement.
func synced(t *testing.T, w *worker) (sshdtest.Pair, *process) {
	t.Helper()
	pair := sshdtest.NewPair(t)
	w.publish(t, keyset.Keyset{Generation: 1, Keys: []keyset.Key{key(keyset.Current, pair, 1)}})
	w.sshd.Start(t)
	p := w.start(t)
	w.ack(t, w.instance.ARN, accepted(1, pair))
	return pair, p
}

func TestDriftIsRepaired(t *testing.T) {
	for _, who := range []string{"root", "the user itself"} {
		t.Run("by an agent of "+who, func(t *testing.T) {
			w := newCluster(t).newHomeWorker(t)
			ssh := filepath.Dir(w.keys)
			if who != "root" {
				w.runAsUser(t)
			}
			pair, _ := synced(t, w)
			reads := w.reads()
			block := func() bool {
				data, err := os.ReadFile(w.keys)
				return err == nil && strings.Contains(string(data), pair.Public.String()) && strings.Contains(string(data), "# END rotatessh")
			}
			for _, damage := range []struct {
				name string
				do   func() error
			}{
				{"file deleted", func() error { return os.Remove(w.keys) }},
				{"file emptied", func() error { return os.Truncate(w.keys, 0) }},
				{"file replaced", func() error {
					if err := os.WriteFile(w.keys+".new", []byte("# another program's\n"), 0o600); err != nil {
						return err
					}
					return errors.Join(os.Chown(w.keys+".new", userID, userID), os.Rename(w.keys+".new", w.keys))
				}},
				{"key edited", func() error {
					return os.WriteFile(w.keys, []byte(strings.Replace(w.file(t), pair.Public.String(), pair.Public.String()[:40], 1)), 0o600)
				}},
				{"folder moved", func() error { return os.Rename(ssh, ssh+".old") }},
				{"folder deleted", func() error { return os.RemoveAll(ssh) }},
			} {
				if err := damage.do(); err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				eventually(t, block, "%s: not repaired", damage.name)
				t.Logf("%s: repaired after %v", damage.name, time.Since(begun).Round(time.Millisecond))
				os.RemoveAll(ssh + ".old")
			}
			mustLogIn(t, w, pair)
			if n := w.reads(); n != reads {
				t.Errorf("the repairs read the secret %d times", n-reads)
			}
			owned(t, ssh, 0o700)
			owned(t, w.keys, 0o600)
		})
	}
}

// owned checks that what the agent has made belongs to the user.
func owned(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != userID || info.Mode().Perm() != mode {
		t.Errorf("%s belongs to %d and has mode %v", path, st.Uid, info.Mode())
	}
}

func TestTerminateFinishesThePassInHand(t *testing.T) {
	c := newCluster(t)
	w := c.newWorker(t)
	w.sshd.Start(t)
	pair := sshdtest.NewPair(t)
	w.publish(t, keyset.Keyset{Generation: 1, Keys: []keyset.Key{key(keyset.Current, pair, 1)}})
	writing, goOn := make(chan struct{}), make(chan struct{})
	c.aws.OnCall(localaws.Fault{Service: "dynamodb", Action: "PutItem", Before: func(localaws.Call) error {
		close(writing)
		<-goOn
		return nil
	}})
	p := w.start(t)
	<-writing
	p.signal(t, syscall.SIGTERM)
	p.logged(t, "stopping", 1)
	p.signal(t, syscall.SIGHUP) // changes nothing any more
	time.Sleep(100 * time.Millisecond)
	close(goOn)
	if status := p.exit(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if !strings.Contains(p.log(), `"msg":"agent stopped"`) {
		t.Error("the stop is not logged")
	}
	c.ack(t, w.instance.ARN, accepted(1, pair))
}

func TestTerminateDoesNotWaitForAWS(t *testing.T) {
	c := newCluster(t)
	w := c.newWorker(t)
	reading, goOn := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	c.aws.OnCall(localaws.Fault{Action: "GetSecretValue", Before: func(localaws.Call) error {
		if once.CompareAndSwap(false, true) {
			close(reading)
		}
		<-goOn
		return nil
	}})
	t.Cleanup(func() { close(goOn) })
	p := w.start(t)
	<-reading
	p.signal(t, syscall.SIGTERM)
	if status := p.exit(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestHangupMakesAFullCheck(t *testing.T) {
	c := newCluster(t)
	w := c.newWorker(t, "beacon: {interval: 24h}")
	first, p := synced(t, w)
	second := sshdtest.NewPair(t)
	c.publish(t, keyset.Keyset{Generation: 2, Keys: []keyset.Key{key(keyset.Current, first, 1), key(keyset.Pending, second, 2)}})
	p.signal(t, syscall.SIGHUP)
	c.ack(t, w.instance.ARN, accepted(2, first, second))
}

func TestKilledAgentComesBack(t *testing.T) {
	c := newCluster(t)
	w := c.newWorker(t, "beacon: {interval: 1s}")
	first, p := synced(t, w)
	p.kill()
	second := sshdtest.NewPair(t)
	doc := c.publish(t, keyset.Keyset{Generation: 2, Keys: []keyset.Key{key(keyset.Current, first, 1), key(keyset.Pending, second, 2)}})
	c.announce(t, doc)
	p = w.start(t)
	c.ack(t, w.instance.ARN, accepted(2, first, second))

	// What was seen before the kill is still known after it.
	p.kill()
	if err := c.put(strings.Replace(mustEncode(t, doc.Keyset), `"generation":2`, `"generation":1`, 1)); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	c.ack(t, w.instance.ARN, func(a ledger.Ack) bool { return a.Outcome == ledger.Failed && a.Code == "generation-lower" })
	mustLogIn(t, w, second)
}

func mustEncode(t *testing.T, k keyset.Keyset) string {
	t.Helper()
	data, err := k.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestFileIsThereBeforeSSHDListens(t *testing.T) {
	c := newCluster(t)
	w := c.newWorker(t)
	pair := sshdtest.NewPair(t)
	c.publish(t, keyset.Keyset{Generation: 1, Keys: []keyset.Key{key(keyset.Current, pair, 1)}})
	p := w.start(t)
	p.logged(t, "no sshd is listening", 1)
	if !strings.Contains(w.file(t), pair.Public.String()) {
		t.Error("the file waits for sshd")
	}
	acks, err := c.ledger.Acks(t.Context(), secretARN, []string{w.instance.ARN}, time.Now())
	if err != nil || len(acks) != 0 {
		t.Errorf("acknowledged %+v, %v", acks, err)
	}
	w.sshd.Start(t)
	begun := time.Now()
	c.ack(t, w.instance.ARN, accepted(1, pair))
	t.Logf("verified %v after sshd listened", time.Since(begun).Round(time.Millisecond))
}

func TestMetricsAreServed(t *testing.T) {
	c := newCluster(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	w := c.newWorker(t, "metrics: {address: "+address+"}")
	// The port is taken: the keys come all the same.
	_, p := synced(t, w)
	p.logged(t, "metrics cannot be served", 1)
	p.signal(t, syscall.SIGTERM)
	p.exit(t)
	listener.Close()
	w.start(t)
	var text string
	eventually(t, func() bool {
		resp, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		text = string(body)
		return err == nil && strings.Contains(text, "rotatessh_agent_healthy 1\n")
	}, "no metrics")
	for _, want := range []string{"rotatessh_agent_generation 1\n", "rotatessh_agent_generation_lag 0\n", `rotatessh_agent_passes_total{result="success"}`, "go_goroutines "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
