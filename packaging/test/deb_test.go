//go:build installtest

package installtest

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
)

const (
	unit       = "rotatessh-agent.service"
	keysFile   = "home/" + account + "/.ssh/authorized_keys"
	ownLine    = "# this line is the user's own\n"
	configFile = "etc/rotatessh/agent.yaml"
)

// settings is what an operator writes who wants the tests to be quick.
const settings = "users:\n  - name: " + account + "\nbeacon:\n  interval: 1s\n"

// worker is an instance from its first day to its last.
type worker struct {
	*machine
	cloud    *cloud
	instance localaws.Instance
	old      ssh.Signer // the key before the last rotation
}

func TestDebian(t *testing.T) {
	needs(t, "debootstrap", "systemd-nspawn", "nsenter", "ip", "dpkg-deb")
	w := &worker{cloud: newCloud(t)}
	w.machine = newMachine(t, 1, newRoot(t, container.base(t)))
	w.instance = w.cloud.instance(t, w.machine)
	for _, s := range []struct {
		name string
		do   func(t *testing.T) string
	}{
		{"install on a running machine", w.install},
		{"configure and check", w.configure},
		{"boot: synced before sshd takes log-ins", w.firstBoot},
		{"limits as systemd and the kernel have them", w.limits},
		{"exposure", w.exposure},
		{"writes outside homes and state are refused", w.confined},
		{"rotation", w.rotation},
		{"drift is repaired", w.drift},
		{"files that carry an SELinux label", w.labelled},
		{"SIGKILL: restarted", w.killed},
		{"hang: the watchdog restarts it", w.hung},
		{"reboot with a socket-activated sshd", w.reboot},
		{"boot without AWS: sshd starts all the same", w.alone},
		{"homes on NFS: the drop-in for root", w.asRoot},
		{"upgrade with an edited configuration", w.upgrade},
		{"remove: the keys stay", w.remove},
		{"purge-keys", w.purgeKeys},
		{"purge", w.purge},
	} {
		step(t, s.name, s.do)
	}
}

// install expects that nothing is started, enabled, or changed but for the package's own files.
func (w *worker) install(t *testing.T) string {
	w.boot(t)
	w.settle(t)
	before, sshd := w.fingerprint(t), w.show(t, "ssh.service", "MainPID")["MainPID"]
	out := w.dpkg(t, "-i", artifact(t, "rotatessh-agent_*_"+runtime.GOARCH+".deb"), artifact(t, "rotatessh_*_"+runtime.GOARCH+".deb"))
	contains(t, out, "systemctl enable --now rotatessh-agent")
	state := w.show(t, unit, "ActiveState", "UnitFileState", "LoadState")
	if state["ActiveState"] != "inactive" || state["UnitFileState"] != "disabled" || state["LoadState"] != "loaded" {
		t.Errorf("after the installation the unit is %v", state)
	}
	if now := w.show(t, "ssh.service", "MainPID")["MainPID"]; now != sshd {
		t.Error("sshd was restarted")
	}
	if after := w.fingerprint(t); after != before {
		t.Error("the installation changed something of sshd, PAM or other units")
	}
	for _, f := range []string{"usr/share/man/man8/rotatessh-agent.8.gz", "usr/share/man/man1/rotatessh-rotate.1.gz", "usr/share/bash-completion/completions/rotatessh"} {
		if _, err := os.Stat(w.path(f)); err != nil {
			t.Error(err)
		}
	}
	if noise := w.run(t, "systemd-analyze", "verify", "--man=no", "/usr/lib/systemd/system/"+unit); noise != "" {
		t.Errorf("systemd-analyze verify says:\n%s", noise)
	}
	return "nothing enabled, sshd untouched, verify silent"
}

// fingerprint is the content of what the package has no business in.
func (w *worker) fingerprint(t *testing.T) string {
	t.Helper()
	h := sha256.New()
	for _, dir := range []string{"etc/ssh", "etc/pam.d", "etc/security", "etc/systemd", "usr/lib/systemd", "etc/selinux", "etc/nsswitch.conf"} {
		err := filepath.WalkDir(w.path(dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.Contains(path, "rotatessh") {
				return nil
			}
			data, _ := os.ReadFile(path)
			fmt.Fprintf(h, "%s %x\n", path, sha256.Sum256(data))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// dpkg runs the machine's dpkg on packages of ours, which it gets a copy of.
func (w *worker) dpkg(t *testing.T, option string, packages ...string) string {
	t.Helper()
	args := []string{"dpkg", "--force-confold", option}
	for _, p := range packages {
		if strings.HasSuffix(p, ".deb") {
			data, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			write(t, w.path("root/"+filepath.Base(p)), string(data))
			p = "/root/" + filepath.Base(p)
		}
		args = append(args, p)
	}
	return w.run(t, args...)
}

func (w *worker) configure(t *testing.T) string {
	write(t, w.path(configFile), settings)
	dropin := "etc/systemd/system/rotatessh-agent.service.d"
	if err := os.MkdirAll(w.path(dropin), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, w.path(dropin+"/endpoint.conf"), "[Service]\nEnvironment=AWS_ENDPOINT_URL=http://"+w.gateway()+":"+apiPort+"\n")
	w.run(t, "install", "-d", "-m", "700", "-o", account, "-g", account, "/home/"+account+"/.ssh")
	w.run(t, "sh", "-c", "printf '%s' \""+ownLine+"\" >/"+keysFile+" && chown "+account+":"+account+" /"+keysFile+" && chmod 640 /"+keysFile)
	out := w.run(t, "env", "AWS_ENDPOINT_URL=http://"+w.gateway()+":"+apiPort, "rotatessh-agent", "check")
	contains(t, out, "ok   identity: "+w.instance.ARN)
	w.run(t, "systemctl", "enable", unit)
	if s := w.show(t, unit, "ActiveState"); s["ActiveState"] != "inactive" {
		t.Errorf("enabling it made it %v", s)
	}
	w.off(t)
	return "identity from IMDSv2: " + w.instance.ID
}

func (w *worker) firstBoot(t *testing.T) string {
	w.boot(t)
	// The very first answer of sshd decides.
	var first error
	until(t, "sshd", 60*time.Second, func() (string, bool) {
		first = login(w.machine, w.cloud.current(t))
		return fmt.Sprint(first), first == nil || !strings.Contains(first.Error(), "connect") && !strings.Contains(first.Error(), "i/o timeout")
	})
	if first != nil {
		t.Errorf("the first log-in that sshd answered: %v", first)
	}
	w.settle(t)
	agent, sshd := w.show(t, unit, "ActiveEnterTimestampMonotonic"), w.show(t, "ssh.service", "ExecMainStartTimestampMonotonic")
	ready, _ := strconv.ParseInt(agent["ActiveEnterTimestampMonotonic"], 10, 64)
	started, _ := strconv.ParseInt(sshd["ExecMainStartTimestampMonotonic"], 10, 64)
	if ready == 0 || started < ready {
		t.Errorf("sshd started at %d µs, the agent was ready at %d", started, ready)
	}
	w.noCycle(t)
	ack := w.cloud.ack(t, w.instance.ARN, func(a ledger.Ack) bool { return a.Outcome == ledger.Applied })
	return fmt.Sprintf("sshd started %.0f ms after the agent was ready; generation %d acknowledged", float64(started-ready)/1000, ack.Generation)
}

// noCycle looks whether systemd had to drop a unit to find an order.
func (w *worker) noCycle(t *testing.T) {
	t.Helper()
	out, _ := w.try("journalctl", "-b", "-o", "cat", "--no-pager", "_PID=1")
	if strings.Contains(out, "ordering cycle") {
		t.Errorf("systemd found a cycle:\n%s", out)
	}
}

func (w *worker) limits(t *testing.T) string {
	want := map[string]string{"MemoryMax": "134217728", "CPUQuotaPerSecUSec": "500ms", "TasksMax": "64", "Type": "notify", "Restart": "always",
		"WatchdogUSec": "5min", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "User": "rotatessh", "LimitCORE": "0"}
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	got := w.show(t, unit, append(names, "MemoryCurrent", "TasksCurrent", "ControlGroup")...)
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	// Either version of the kernel's control groups.
	group := got["ControlGroup"]
	kernel := strings.Fields(w.run(t, "sh", "-c", "cd /sys/fs/cgroup; cat ."+group+"/memory.max memory"+group+"/memory.limit_in_bytes ."+group+"/pids.max pids"+group+"/pids.max 2>/dev/null || true"))
	if strings.Join(kernel, " ") != "134217728 64" {
		t.Errorf("the kernel's limits are %q", kernel)
	}
	used, _ := strconv.Atoi(got["MemoryCurrent"])
	return fmt.Sprintf("MemoryMax 128M, CPUQuota 50%%, TasksMax 64; the kernel says so too; in use: %.1f MiB, %s tasks", float64(used)/(1<<20), got["TasksCurrent"])
}

func (w *worker) exposure(t *testing.T) string {
	out, err := w.try("systemd-analyze", "security", "--threshold=20", unit)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	if err != nil {
		t.Errorf("more than 2.0: %v\n%s", err, out)
	}
	return strings.TrimSpace(strings.TrimPrefix(last, "→ "))
}

// confined runs a shell in place of the agent, in the same sandbox, and lets it try.
func (w *worker) confined(t *testing.T) string {
	text := read(t, w.path("usr/lib/systemd/system/"+unit))
	var probe strings.Builder
	for line := range strings.Lines(text) {
		switch name, _, _ := strings.Cut(line, "="); name {
		case "Type", "NotifyAccess", "ExecStart", "ExecReload", "WatchdogSec", "Restart", "RestartSec", "Before", "After", "Wants", "WantedBy":
		default:
			probe.WriteString(line)
		}
		if line == "[Service]\n" {
			probe.WriteString("Type=oneshot\nExecStart=/bin/sh /root/probe.sh\n")
		}
	}
	w.run(t, "sh", "-c", "mkdir -p /run/systemd/system && cat >/run/systemd/system/probe.service <<'X'\n"+probe.String()+"X\nsystemctl daemon-reload")
	// Names of places where nothing may be written, and of those where it may.
	refused := []string{"/probe", "/etc/probe", "/etc/ssh/sshd_config.d/probe", "/usr/bin/probe", "/boot/probe", "/opt/probe", "/srv/probe", "/var/lib/probe", "/var/spool/probe",
		"/var/log/probe", "/run/probe", "/run/systemd/system/probe", "/dev/probe", "/proc/sys/kernel/probe", "/sys/probe", "/lib/systemd/system/probe"}
	allowed := []string{"/home/" + account + "/probe", "/root/probe", "/var/lib/rotatessh/probe"}
	script := "exec >/var/lib/rotatessh/probe.log\nfor f in " + strings.Join(append(refused, allowed...), " ") + "; do if (: >$f) 2>/dev/null; then echo wrote $f; rm -f $f; else echo refused $f; fi; done\n" +
		"(: >/tmp/probe) && echo own-tmp\n" +
		"kill -0 1 2>/dev/null && echo signalled || echo no-signal\n" +
		"systemctl --no-ask-password stop ssh.service 2>/dev/null && echo commanded || echo no-command\n" +
		"unshare -n true 2>/dev/null && echo unshared || echo no-namespace\n" +
		"ls /run/user 2>/dev/null | grep -q . && echo sessions || echo no-sessions\n" +
		"sed -n 's/^CapEff:/caps/p' /proc/self/status\n"
	write(t, w.path("root/probe.sh"), script)
	w.run(t, "systemctl", "start", "probe.service")
	out := read(t, w.path("var/lib/rotatessh/probe.log"))
	for _, f := range refused {
		contains(t, out, "refused "+f+"\n")
	}
	for _, f := range allowed {
		contains(t, out, "wrote "+f+"\n")
	}
	for _, s := range []string{"own-tmp", "no-signal", "no-command", "no-namespace", "no-sessions", "caps\t" + w.capabilities(t)} {
		contains(t, out, s)
	}
	if _, err := os.Stat(w.path("tmp/probe")); err == nil {
		t.Error("the sandbox's /tmp is the machine's")
	}
	return fmt.Sprintf("%d places refused (among them /etc, /usr, /var/log, /run), homes and state writable; no signal, no command to systemd", len(refused))
}

// capabilities are those that the unit names, as far as the container has them to give.
func (w *worker) capabilities(t *testing.T) string {
	t.Helper()
	text, err := w.try("sed", "-n", "s/^CapBnd:\\s*//p", "/proc/1/status")
	if err != nil {
		t.Fatal(text)
	}
	has, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	const chown, dacOverride, fowner, sysResource, lease = 1 << 0, 1 << 1, 1 << 3, 1 << 24, 1 << 28
	return fmt.Sprintf("%016x", has&(chown|dacOverride|fowner|sysResource|lease))
}

func (w *worker) rotation(t *testing.T) string {
	w.old = w.cloud.current(t)
	before := w.cloud.keyset(t).Generation
	w.cloud.rotate(t)
	current := w.cloud.current(t)
	if string(current.PublicKey().Marshal()) == string(w.old.PublicKey().Marshal()) {
		t.Fatal("the key is the old one")
	}
	if err := login(w.machine, current); err != nil {
		t.Errorf("log-in with the new key: %v", err)
	}
	until(t, "the old key to be refused", retireAfter+60*time.Second, func() (string, bool) {
		err := login(w.machine, w.old)
		return fmt.Sprint(err), err != nil && strings.Contains(err.Error(), "unable to authenticate")
	})
	ack := w.cloud.ack(t, w.instance.ARN, func(a ledger.Ack) bool { return a.Outcome == ledger.Applied && a.Generation >= before+2 })
	for _, u := range ack.Users {
		for _, k := range u.Keys {
			if k.State == "current" && k.Accepted != ledger.Yes {
				t.Errorf("key %s accepted: %s %s", k.Fingerprint, k.Accepted, k.Why)
			}
		}
	}
	w.intact(t)
	return fmt.Sprintf("new key in use, old one refused, sshd asked from inside the sandbox; generation %d", ack.Generation)
}

// intact looks whether the user's own line and the file's owner and mode have survived.
func (w *worker) intact(t *testing.T) {
	t.Helper()
	contains(t, read(t, w.path(keysFile)), ownLine)
	if got := strings.TrimSpace(w.run(t, "stat", "-c", "%U:%G %a", "/"+keysFile)); got != account+":"+account+" 640" {
		t.Errorf("the file is %s", got)
	}
}

func (w *worker) drift(t *testing.T) string {
	good := read(t, w.path(keysFile))
	start := time.Now()
	w.run(t, "sh", "-c", "printf '%s' \""+ownLine+"\" >/"+keysFile)
	until(t, "the block", 30*time.Second, func() (string, bool) {
		now := read(t, w.path(keysFile))
		return now, now == good
	})
	took := time.Since(start)
	w.intact(t)
	return fmt.Sprintf("the block was back after %d ms", took.Milliseconds())
}

// labelled gives the file a label that this kernel, which may have no SELinux, only stores: as on a machine where it was switched
// off after it had been on.
func (w *worker) labelled(t *testing.T) string {
	path := w.path(keysFile)
	if out, err := exec.Command("setfattr", "-n", "security.selinux", "-v", "unconfined_u:object_r:ssh_home_t:s0", path).CombinedOutput(); err != nil {
		t.Fatalf("setfattr: %v %s", err, out)
	}
	good := read(t, path)
	w.run(t, "sh", "-c", "printf '%s' \""+ownLine+"\" >/"+keysFile)
	until(t, "the block", 30*time.Second, func() (string, bool) {
		now := read(t, path)
		return now + w.journal(unit), now == good
	})
	w.intact(t)
	return "rewritten with SELinux switched off and an old label on the file"
}

func (w *worker) pid(t *testing.T) string {
	t.Helper()
	return w.show(t, unit, "MainPID")["MainPID"]
}

// restarted waits until another process than old is the agent and ready.
func (w *worker) restarted(t *testing.T, old string) time.Duration {
	t.Helper()
	start := time.Now()
	until(t, "a new agent", 60*time.Second, func() (string, bool) {
		s := w.show(t, unit, "MainPID", "ActiveState")
		return fmt.Sprint(s), s["ActiveState"] == "active" && s["MainPID"] != old && s["MainPID"] != "0"
	})
	return time.Since(start)
}

func (w *worker) killed(t *testing.T) string {
	old := w.pid(t)
	w.run(t, "kill", "-KILL", old)
	took := w.restarted(t, old)
	if n := w.show(t, unit, "NRestarts")["NRestarts"]; n != "1" {
		t.Errorf("systemd counts %s restarts", n)
	}
	w.drift(t)
	return fmt.Sprintf("ready again after %.1f s, repairs drift", took.Seconds())
}

func (w *worker) hung(t *testing.T) string {
	dir := w.path("etc/systemd/system/rotatessh-agent.service.d")
	write(t, dir+"/watchdog.conf", "[Service]\nWatchdogSec=3s\n")
	w.run(t, "systemctl", "daemon-reload")
	w.run(t, "systemctl", "restart", unit)
	old := w.pid(t)
	// Longer than the limit: an agent that works keeps the watchdog quiet.
	time.Sleep(7 * time.Second)
	if now := w.pid(t); now != old {
		t.Error("the watchdog struck an agent that works")
	}
	w.run(t, "kill", "-STOP", old)
	took := w.restarted(t, old)
	contains(t, w.journal(unit), "Watchdog timeout")
	os.Remove(dir + "/watchdog.conf")
	w.run(t, "systemctl", "daemon-reload")
	w.run(t, "systemctl", "restart", unit)
	return fmt.Sprintf("with WatchdogSec=3s: replaced %.1f s after SIGSTOP", took.Seconds())
}

func (w *worker) reboot(t *testing.T) string {
	w.run(t, "systemctl", "disable", "ssh.service")
	w.run(t, "systemctl", "enable", "ssh.socket")
	w.off(t)
	w.boot(t)
	until(t, "a log-in", 60*time.Second, func() (string, bool) {
		err := login(w.machine, w.cloud.current(t))
		return fmt.Sprint(err), err == nil
	})
	w.settle(t)
	w.noCycle(t)
	if s := w.show(t, "ssh.socket", "ActiveState"); s["ActiveState"] != "active" {
		t.Errorf("ssh.socket is %v", s)
	}
	w.cloud.ack(t, w.instance.ARN, func(a ledger.Ack) bool { return a.Outcome == ledger.Applied })
	w.run(t, "systemctl", "disable", "--now", "ssh.socket")
	w.run(t, "systemctl", "enable", "ssh.service")
	w.off(t)
	return "no ordering cycle, log-in works"
}

// alone boots without a metadata service: nothing that the agent needs may keep sshd from starting.
func (w *worker) alone(t *testing.T) string {
	w.cloud.mu.Lock()
	saved := w.cloud.metadata[w.address()]
	w.cloud.metadata[w.address()] = ""
	w.cloud.mu.Unlock()
	start := time.Now()
	w.boot(t)
	until(t, "a log-in", 90*time.Second, func() (string, bool) {
		err := login(w.machine, w.cloud.current(t))
		return fmt.Sprint(err), err == nil
	})
	took := time.Since(start)
	if s := w.show(t, unit, "ActiveState", "NRestarts"); s["ActiveState"] == "active" {
		t.Errorf("without a metadata service the agent is %v", s)
	}
	w.cloud.mu.Lock()
	w.cloud.metadata[w.address()] = saved
	w.cloud.mu.Unlock()
	later := w.restarted(t, "0")
	return fmt.Sprintf("log-in %.1f s after power-on; the agent is up %.1f s after the metadata service", took.Seconds(), later.Seconds())
}

// asRoot puts the package's drop-in for homes on NFS in place: root in the same sandbox.
func (w *worker) asRoot(t *testing.T) string {
	w.settle(t)
	dir := "/etc/systemd/system/rotatessh-agent.service.d/"
	w.run(t, "cp", "/usr/share/doc/rotatessh-agent/nfs-homes.conf", dir)
	w.run(t, "systemctl", "daemon-reload")
	w.run(t, "systemctl", "restart", unit)
	if uid := strings.TrimSpace(w.run(t, "stat", "-c", "%u", "/proc/"+w.pid(t))); uid != "0" {
		t.Errorf("the agent runs as uid %s", uid)
	}
	w.drift(t)
	w.run(t, "rm", dir+"nfs-homes.conf")
	w.run(t, "systemctl", "daemon-reload")
	w.run(t, "systemctl", "restart", unit)
	w.drift(t)
	return "works as root, and as itself again afterwards"
}

func (w *worker) upgrade(t *testing.T) string {
	w.settle(t)
	edited := settings + "# edited by the operator\n"
	write(t, w.path(configFile), edited)
	old, sshd := w.pid(t), w.show(t, "ssh.service", "MainPID")["MainPID"]
	w.dpkg(t, "-i", nextPackage(t, "deb"))
	w.restarted(t, old)
	if now := read(t, w.path(configFile)); now != edited {
		t.Errorf("the configuration is now\n%s", now)
	}
	if _, err := os.Stat(w.path(configFile + ".dpkg-dist")); err != nil {
		t.Errorf("the new default configuration is not beside it: %v", err)
	}
	if now := w.show(t, "ssh.service", "MainPID")["MainPID"]; now != sshd {
		t.Error("sshd was restarted")
	}
	contains(t, w.run(t, "dpkg-query", "-W", "rotatessh-agent"), "\t99.0.0-1")
	// What was stopped stays stopped.
	w.run(t, "systemctl", "stop", unit)
	w.dpkg(t, "-i", nextPackage(t, "deb"))
	if s := w.show(t, unit, "ActiveState", "UnitFileState"); s["ActiveState"] != "inactive" || s["UnitFileState"] != "enabled" {
		t.Errorf("the upgrade of a stopped agent made it %v", s)
	}
	w.run(t, "systemctl", "start", unit)
	return "kept; new default beside it; running agent restarted, stopped one not; sshd untouched"
}

func (w *worker) remove(t *testing.T) string {
	good := read(t, w.path(keysFile))
	contains(t, w.dpkg(t, "-r", "rotatessh-agent"), "the managed keys stay in authorized_keys")
	if s := w.show(t, unit, "ActiveState", "LoadState"); s["ActiveState"] == "active" || s["LoadState"] != "not-found" {
		t.Errorf("after the removal the unit is %v", s)
	}
	if read(t, w.path(keysFile)) != good {
		t.Error("the removal changed authorized_keys")
	}
	if err := login(w.machine, w.cloud.current(t)); err != nil {
		t.Errorf("log-in after the removal: %v", err)
	}
	if _, err := os.Stat(w.path(configFile)); err != nil {
		t.Error(err)
	}
	if links, _ := filepath.Glob(w.path("etc/systemd/system/*.wants/" + unit)); len(links) > 0 {
		t.Errorf("left behind: %v", links)
	}
	return "stopped, disabled; log-in with the key still works"
}

func (w *worker) purgeKeys(t *testing.T) string {
	w.dpkg(t, "-i", artifact(t, "rotatessh-agent_*_"+runtime.GOARCH+".deb"))
	if s := w.show(t, unit, "ActiveState", "UnitFileState"); s["UnitFileState"] != "disabled" || s["ActiveState"] == "active" {
		t.Errorf("installed again, the unit is %v", s)
	}
	w.run(t, "systemctl", "start", unit)
	if out, err := w.try("rotatessh-agent", "purge-keys", "--yes"); err == nil || !strings.Contains(out, "disable --now") {
		t.Errorf("purge-keys beside a running agent: %v %s", err, out)
	}
	w.run(t, "systemctl", "stop", unit)
	if out, err := w.try("rotatessh-agent", "purge-keys"); err == nil {
		t.Errorf("purge-keys did not ask: %s", out)
	}
	out := w.run(t, "rotatessh-agent", "purge-keys", "--yes")
	if now := read(t, w.path(keysFile)); now != ownLine {
		t.Errorf("the file is now\n%s", now)
	}
	w.intact(t)
	trace := w.run(t, "journalctl", "-b", "-t", "rotatessh-agent", "-o", "cat", "--no-pager")
	contains(t, trace, "managed keys purged: user "+account)
	if err := login(w.machine, w.cloud.current(t)); err == nil {
		t.Error("the key is still accepted")
	}
	return strings.TrimSpace(strings.Split(out, "\n")[0]) + "; in the journal"
}

func (w *worker) purge(t *testing.T) string {
	w.dpkg(t, "-P", "rotatessh-agent", "rotatessh")
	var left []string
	for f := range strings.FieldsSeq(w.run(t, "find", "/etc", "/usr", "/var/lib", "/lib", "-xdev", "-name", "*rotatessh*")) {
		if !strings.HasPrefix(f, "/etc/systemd/system/rotatessh-agent.service.d") { // the test's own
			left = append(left, f)
		}
	}
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if now := read(t, w.path(keysFile)); now != ownLine {
		t.Errorf("the file is now\n%s", now)
	}
	w.off(t)
	return "configuration and state gone, nothing left but the system account"
}
