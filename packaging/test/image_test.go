//go:build installtest

package installtest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// TestImage boots another instance from the disk of a worker that has been in use, as an image without any care would be made, and then
// runs the script that takes care.
func TestImage(t *testing.T) {
	needs(t, "debootstrap", "systemd-nspawn", "nsenter", "ip", "dpkg-deb")
	first := &worker{cloud: newCloud(t)}
	first.machine = newMachine(t, 1, newRoot(t, container.base(t)))
	first.instance = first.cloud.instance(t, first.machine)
	second := &worker{cloud: first.cloud}
	step(t, "a worker in use", func(t *testing.T) string {
		first.install(t)
		first.configure(t)
		first.firstBoot(t)
		first.off(t)
		return first.instance.ID
	})
	copied := newRoot(t, first.root)
	second.machine = newMachine(t, 2, copied)
	stale := read(t, second.path(keysFile))
	step(t, "its disk copied, then a rotation", func(t *testing.T) string {
		contains(t, stale, "# BEGIN rotatessh ")
		first.boot(t)
		first.settle(t)
		return first.rotation(t)
	})
	step(t, "another instance boots the copy", func(t *testing.T) string {
		return second.fromImage(t, first, stale)
	})
	step(t, "agent-in-image.sh leaves nothing of its own", first.clean)
}

// fromImage boots a copy of another worker's disk, whose keys are those of the past.
func (w *worker) fromImage(t *testing.T, of *worker, stale string) string {
	w.instance = w.cloud.instance(t, w.machine)
	write(t, w.path("etc/systemd/system/rotatessh-agent.service.d/endpoint.conf"), "[Service]\nEnvironment=AWS_ENDPOINT_URL=http://"+w.gateway()+":"+apiPort+"\n")
	// An agent that has just started knows AWS's time to the whole second of a Date header, so that it may take a
	// retiring key for alive when another worker has dropped it already: the safe side, for a second at most.
	until(t, "the old key's end, seen from every clock", 10*time.Second, func() (string, bool) {
		k := w.cloud.keyset(t)
		return fmt.Sprint(k.Keys), k.Phase(time.Now().Add(-time.Second)) == keyset.PhaseSteady
	})
	w.boot(t)
	var first error
	until(t, "sshd", 60*time.Second, func() (string, bool) {
		first = login(w.machine, of.old)
		return fmt.Sprint(first), first == nil || strings.Contains(first.Error(), "unable to authenticate")
	})
	if first == nil {
		t.Error("the first log-in that sshd answered was with the key that is in the image")
	}
	if err := login(w.machine, w.cloud.current(t)); err != nil {
		t.Errorf("log-in with the current key: %v", err)
	}
	ack := w.cloud.ack(t, w.instance.ARN, func(a ledger.Ack) bool { return a.Outcome == ledger.Applied })
	now := read(t, w.path(keysFile))
	if now == stale || strings.Count(now, "# BEGIN rotatessh ") != 1 {
		t.Errorf("the file is\n%s", now)
	}
	w.settle(t)
	w.intact(t)
	log := w.journal(unit)
	contains(t, log, `"msg":"agent started"`)
	if strings.Contains(log, of.instance.ID) {
		t.Errorf("the agent talks of the instance %s, whose disk was copied:\n%s", of.instance.ID, log)
	}
	w.off(t)
	return fmt.Sprintf("re-identified as %s; stale block replaced before the first log-in; generation %d", w.instance.ID, ack.Generation)
}

// clean runs the script for images on a worker that is in use.
func (w *worker) clean(t *testing.T) string {
	deb := artifact(t, "rotatessh-agent_*_"+runtime.GOARCH+".deb")
	for _, f := range []string{deb, repository + "/packaging/image/agent-in-image.sh"} {
		write(t, w.path("root/"+filepath.Base(f)), read(t, f))
	}
	w.run(t, "sh", "/root/agent-in-image.sh", "/root/"+filepath.Base(deb), account)
	if s := w.show(t, unit, "ActiveState", "UnitFileState"); s["UnitFileState"] != "enabled" || s["ActiveState"] != "inactive" {
		t.Errorf("the unit is %v", s)
	}
	if now := read(t, w.path(keysFile)); now != ownLine {
		t.Errorf("the file is\n%s", now)
	}
	if _, err := os.Stat(w.path("var/lib/rotatessh")); err == nil {
		t.Error("the state is still there")
	}
	if now := read(t, w.path(configFile)); now != "users:\n  - name: "+account+"\n" {
		t.Errorf("the configuration is\n%s", now)
	}
	w.off(t)
	return "installed, configured, enabled, not started; no state, no keys"
}
