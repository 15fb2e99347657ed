package sshdtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Program is where distributions install sshd.
const Program = "/usr/sbin/sshd"

// Server is a running sshd with the default configuration plus what the test asked for.
type Server struct {
	Address      string // host:port on loopback
	HostKeyFiles string // glob of its public host keys
	Config       string // path of its configuration file
	Dir          string // its folder, which passes StrictModes

	// Program is sshd's path, or that of a program that runs it in the other distribution's folder.
	Program string

	log     bytes.Buffer
	command *exec.Cmd
}

// NeedSSHD skips the test where OpenSSH's server is not installed.
func NeedSSHD(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(Program); err != nil {
		t.Skip("not run: needs OpenSSH's sshd")
	}
	if _, err := os.Stat("/run/sshd"); err != nil && os.Geteuid() == 0 {
		t.Skip("not run: sshd needs /run/sshd when root starts it")
	}
}

// Configure prepares a server without starting it. Every line is one of sshd_config; the first of a keyword
// counts, so that lines go before the defaults, and "Match" lines belong at the end.
func Configure(t testing.TB, lines ...string) *Server {
	t.Helper()
	NeedSSHD(t)
	s := &Server{Dir: folder(t), Program: Program}
	s.HostKeyFiles = filepath.Join(s.Dir, "ssh_host_*_key.pub")
	s.Config = filepath.Join(s.Dir, "sshd_config")
	s.Address = freeAddress(t)
	writeHostKey(t, filepath.Join(s.Dir, "ssh_host_ed25519_key"))
	if root := os.Getenv(foreignRoot); root != "" {
		s.Program = filepath.Join(s.Dir, "sshd")
		WriteFile(t, s.Program, "#!/bin/sh\nexec chroot '"+root+"' "+Program+" \"$@\"\n", 0o755)
	}
	s.Rewrite(t, lines...)
	return s
}

// Start runs a server until the test ends.
func Start(t testing.TB, lines ...string) *Server {
	t.Helper()
	s := Configure(t, lines...)
	s.Start(t)
	return s
}

// Rewrite replaces the configuration file.
func (s *Server) Rewrite(t testing.TB, lines ...string) {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	var global, match []string
	for i, line := range lines {
		if strings.HasPrefix(line, "Match ") {
			match = lines[i:]
			break
		}
		global = append(global, line)
	}
	global = append(global, "ListenAddress 127.0.0.1", "Port "+port, "PidFile none",
		"HostKey "+filepath.Join(s.Dir, "ssh_host_ed25519_key"),
		"AuthorizedKeysFile "+s.KeysFile("%u"), "UsePAM no", "LogLevel VERBOSE")
	WriteFile(t, s.Config, strings.Join(append(global, match...), "\n")+"\n", 0o600)
}

// KeysFile is where the server looks for a user's keys unless configured otherwise.
func (s *Server) KeysFile(user string) string { return filepath.Join(s.Dir, "keys", user) }

// Allow writes the user's keys file: one line each.
func (s *Server) Allow(t testing.TB, user string, lines ...string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(s.Dir, "keys"), 0o755); err != nil {
		t.Fatal(err)
	}
	WriteFile(t, s.KeysFile(user), strings.Join(lines, "\n")+"\n", 0o644)
}

// Start runs the server and waits until it listens.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.log.Reset()
	s.command = exec.Command(Program, "-D", "-e", "-f", s.Config)
	s.command.Stderr = &s.log
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Chroot: os.Getenv(foreignRoot)}
	if err := spawn(s.command); err != nil {
		t.Fatalf("starting sshd: %v", err)
	}
	t.Cleanup(func() { s.Stop() })
	for range 500 {
		// Looking for the listener without connecting: a connection would count as a failed log-in attempt.
		if listening(s.Address) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Stop()
	t.Fatalf("sshd does not listen:\n%s", s.log.String())
}

// Stop ends the server and its children, and gives its log.
func (s *Server) Stop() string {
	if s.command != nil && s.command.ProcessState == nil {
		// sshd's children leave its process group, but end with their connection.
		syscall.Kill(-s.command.Process.Pid, syscall.SIGKILL)
		s.command.Wait()
	}
	return s.log.String()
}

// listening looks the IPv4 address up in the kernel's table of listening sockets.
func listening(address string) bool {
	resolved, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return false
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return false
	}
	return strings.Contains(string(table), fmt.Sprintf(" 0100007F:%04X 00000000:0000 0A ", resolved.Port))
}

// freeAddress is an address where nothing listens. The port is below those that the kernel hands out by itself: one of
// them could be taken by another listener, or by a connection, before sshd gets to it.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(22_000)))
		listener, err := net.Listen("tcp4", address)
		if err == nil {
			listener.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// folder makes a folder that sshd trusts: none of its parents may be writable by others, as /tmp is.
func folder(t testing.TB) string {
	t.Helper()
	parent := "/run"
	if !Private() {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skipf("not run: no folder of one's own: %v", err)
		}
		parent = cache
		if err := os.MkdirAll(parent, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	name, err := os.MkdirTemp(parent, "sshdtest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(name) })
	if err := os.Chmod(name, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// WriteFile writes a file with exactly this mode.
func WriteFile(t testing.TB, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}
