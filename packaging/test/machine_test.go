//go:build installtest

package installtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// machine is a root that systemd boots: an instance of the cluster.
type machine struct {
	root    string
	number  int // its network is 10.77.number.0/24, AWS's side is .1 and the machine .2
	nspawn  *exec.Cmd
	done    chan struct{}
	leader  string // process id of its systemd, seen from here
	console *console
}

type console struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

func (m *machine) address() string { return fmt.Sprintf("10.77.%d.2", m.number) }
func (m *machine) gateway() string { return fmt.Sprintf("10.77.%d.1", m.number) }

// newMachine prepares a root for booting.
func newMachine(t *testing.T, number int, root string) *machine {
	t.Helper()
	m := &machine{root: root, number: number}
	write(t, m.path("etc/hostname"), fmt.Sprintf("worker%d\n", number))
	write(t, m.path("etc/systemd/network/10-host0.network"), fmt.Sprintf(
		"[Match]\nName=host0\n[Network]\nAddress=%s/24\nGateway=%s\nLinkLocalAddressing=no\nLLDP=no\n", m.address(), m.gateway()))
	t.Cleanup(func() {
		if t.Failed() && m.nspawn != nil {
			out, _ := m.try("journalctl", "-b", "-o", "cat", "--no-pager", "-n", "80")
			t.Logf("journal of machine %d:\n%s", number, out)
		}
		m.kill()
	})
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.root, name) }

// boot starts the machine and returns as soon as its systemd can be reached: long before everything has started.
func (m *machine) boot(t *testing.T) {
	t.Helper()
	name := fmt.Sprintf("rsst%d", m.number)
	m.console = &console{}
	m.done = make(chan struct{})
	m.nspawn = exec.Command("systemd-nspawn", "-D", m.root, "-M", name, "--register=no", "--keep-unit", "--network-veth",
		"--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only", "--kill-signal=SIGRTMIN+3", "/bin/sh", "-c", startInit)
	m.leader = ""
	m.nspawn.Stdout, m.nspawn.Stderr = m.console, m.console
	m.nspawn.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := m.nspawn.Start(); err != nil {
		t.Fatal(err)
	}
	go func(cmd *exec.Cmd, done chan struct{}) { cmd.Wait(); close(done) }(m.nspawn, m.done)
	until(t, "the network link", 20*time.Second, func() (string, bool) {
		out, err := exec.Command("ip", "address", "replace", m.gateway()+"/24", "dev", "ve-"+name).CombinedOutput()
		return string(out), err == nil
	})
	run(t, "ip", "link", "set", "ve-"+name, "up")
	until(t, "the machine's systemd", 20*time.Second, func() (string, bool) {
		m.leader = initOf(m.nspawn.Process.Pid)
		return "", m.leader != ""
	})
}

// startInit becomes systemd. Before, it makes control groups of the first version writable, which nspawn mounts read-only: systemd
// could set no limits.
const startInit = "cd /sys/fs/cgroup && for c in memory cpu pids; do [ ! -d $c ] || mount -o remount,bind,rw $c; done; exec /lib/systemd/systemd"

// initOf finds the descendant that is process 1 of its namespace.
func initOf(pid int) string {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for child := range strings.FieldsSeq(string(children)) {
		status, _ := os.ReadFile("/proc/" + child + "/status")
		for line := range strings.Lines(string(status)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "NSpid:" && f[2] == "1" {
				return child
			}
		}
		if n, err := strconv.Atoi(child); err == nil {
			if found := initOf(n); found != "" {
				return found
			}
		}
	}
	return ""
}

// settle waits until the boot is over.
func (m *machine) settle(t *testing.T) {
	t.Helper()
	until(t, "the end of the boot", 60*time.Second, func() (string, bool) {
		out, _ := m.try("systemctl", "is-system-running")
		out = strings.TrimSpace(out)
		return out, out == "running" || out == "degraded"
	})
}

// try runs a program in the machine as its root.
func (m *machine) try(args ...string) (string, error) {
	cmd := exec.Command("nsenter", append([]string{"-t", m.leader, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--",
		"/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_PAGER=cat"}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (m *machine) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.try(args...)
	if err != nil {
		t.Fatalf("in the machine: %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// show asks systemd for properties of a unit.
func (m *machine) show(t *testing.T, unit string, names ...string) map[string]string {
	t.Helper()
	values := map[string]string{}
	for line := range strings.Lines(m.run(t, "systemctl", "show", unit, "-p", strings.Join(names, ","))) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		values[name] = value
	}
	return values
}

// off shuts the machine down.
func (m *machine) off(t *testing.T) {
	t.Helper()
	m.try("systemctl", "--no-block", "poweroff")
	select {
	case <-m.done:
	case <-time.After(60 * time.Second):
		t.Errorf("machine %d does not shut down", m.number)
		m.kill()
	}
	m.nspawn = nil
}

func (m *machine) kill() {
	if m.nspawn == nil {
		return
	}
	// The end of its process 1 is the end of all its processes, and nspawn tidies up.
	if pid, err := strconv.Atoi(m.leader); err == nil {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	select {
	case <-m.done:
	case <-time.After(10 * time.Second):
		m.nspawn.Process.Kill()
		<-m.done
	}
	m.nspawn = nil
}

// journal is what the machine's journal has of a unit since its boot.
func (m *machine) journal(unit string) string {
	out, _ := m.try("journalctl", "-b", "-o", "cat", "--no-pager", "-u", unit)
	return out
}
