package main

import (
	"strings"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

func TestRotationReachesTheFileAndTheLedger(t *testing.T) {
	c := newCluster(t)
	w := c.newWorker(t, "beacon: {interval: 1s}")
	w.sshd.Start(t)
	first, second := sshdtest.NewPair(t), sshdtest.NewPair(t)
	p := w.start(t)

	c.announce(t, c.publish(t, keyset.Keyset{Generation: 1, Keys: []keyset.Key{key(keyset.Current, first, 1)}}))
	c.ack(t, w.instance.ARN, accepted(1, first))
	mustLogIn(t, w, first)

	c.announce(t, c.publish(t, keyset.Keyset{Generation: 2, Keys: []keyset.Key{key(keyset.Current, first, 1), key(keyset.Pending, second, 2)}}))
	c.ack(t, w.instance.ARN, accepted(2, first, second))
	mustLogIn(t, w, second)

	retiring := key(keyset.Retiring, first, 1)
	retiring.NotAfter = time.Now().Add(3 * time.Second).UTC().Truncate(time.Second)
	c.announce(t, c.publish(t, keyset.Keyset{Generation: 3, Keys: []keyset.Key{key(keyset.Current, second, 2), retiring}}))
	c.ack(t, w.instance.ARN, accepted(3, second, first))
	steady := c.ack(t, w.instance.ARN, func(a ledger.Ack) bool {
		return accepted(3, second)(a) && answer(a, first) == ledger.No
	})
	if _, err := w.sshd.LogIn(w.user, first, "true"); err == nil {
		t.Error("the retired key still logs in")
	}
	mustLogIn(t, w, second)
	if steady.Port == 0 || !strings.HasPrefix(steady.Banner, "SSH-2.0-OpenSSH") || len(steady.HostKeys) != 1 {
		t.Errorf("the acknowledgement lacks what a controller needs: %+v", steady)
	}
	if got := w.file(t); !strings.HasPrefix(got, strings.Join(foreignLines, "\n")+"\n") {
		t.Errorf("foreign lines have changed:\n%s", got)
	}
	_ = p
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
