package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/agent/internal/userfile/faults"
	"github.com/rotatessh/rotatessh/common/keyset"
)

// account is the managed user. It belongs to the private machine alone.
const account = "trial"

// machine is the worker: an account, an sshd, and an agent's program with its configuration.
type machine struct {
	dir     string
	program string
	config  string
	sshd    *exec.Cmd
	address string // of sshd
	env     []string
}

// lacks says why there can be no machine here, or nothing.
func lacks() string {
	if !sshdtest.Private() {
		return "needs root and a mount namespace"
	}
	if _, err := os.Stat(sshdtest.Program); err != nil {
		return "needs OpenSSH's sshd"
	}
	return ""
}

// newMachine makes the machine with a copy of the program and starts sshd. Lines are added to the agent's configuration. The caller
// closes it.
func newMachine(program string, env []string, lines ...string) (*machine, error) {
	dir, err := os.MkdirTemp("/run", "trial-")
	if err != nil {
		return nil, err
	}
	m := &machine{dir: dir, program: filepath.Join(dir, "rotatessh-agent"), config: filepath.Join(dir, "agent.yaml"),
		env: append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, env...)}
	if err := errors.Join(os.Chmod(dir, 0o755), m.furnish(program)); err != nil {
		return nil, errors.Join(err, m.close())
	}
	text := []string{
		"stateDir: " + filepath.Join(dir, "state"),
		"users: [{name: " + account + "}]",
		"sshd: {address: " + m.address + ", hostKeys: " + m.hostKey() + ".pub, configFile: " + filepath.Join(dir, "sshd_config") + "}",
	}
	if err := os.WriteFile(m.config, []byte(strings.Join(append(text, lines...), "\n")+"\n"), 0o600); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

func (m *machine) furnish(program string) error {
	// A copy, because the private machine hides /home and /run.
	if err := copyFile(program, m.program); err != nil {
		return err
	}
	if err := m.writeHostKey(); err != nil {
		return err
	}
	return m.startSSHD()
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (m *machine) hostKey() string { return filepath.Join(m.dir, "ssh_host_ed25519_key") }

func (m *machine) writeHostKey() error {
	public, private, err := newPair()
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(m.hostKey(), pem.EncodeToMemory(block), 0o600),
		os.WriteFile(m.hostKey()+".pub", []byte(public.String()+"\n"), 0o600))
}

func newPair() (keyset.PublicKey, ed25519.PrivateKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return keyset.PublicKey{}, nil, err
	}
	wrapped, err := ssh.NewPublicKey(public)
	if err != nil {
		return keyset.PublicKey{}, nil, err
	}
	out, err := keyset.NewPublicKey(wrapped)
	return out, private, err
}

// newKey makes a key of a keyset. Nobody has its private half.
func newKey(state keyset.State, version int64) (keyset.Key, error) {
	public, _, err := newPair()
	return keyset.Key{State: state, VersionID: fmt.Sprintf("00000000-0000-0000-0000-%012d", version), PublicKey: public}, err
}

func (m *machine) startSSHD() error {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	m.address = listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(m.address)
	config := filepath.Join(m.dir, "sshd_config")
	text := fmt.Sprintf("ListenAddress 127.0.0.1\nPort %s\nPidFile none\nHostKey %s\nUsePAM no\n", port, m.hostKey())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	m.sshd = exec.Command(sshdtest.Program, "-D", "-e", "-f", config)
	m.sshd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.sshd.Start(); err != nil {
		return fmt.Errorf("starting sshd: %w", err)
	}
	for range 500 {
		if conn, err := net.Dial("tcp4", m.address); err == nil {
			return conn.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("sshd does not listen")
}

// setHome makes dir the account's home.
func (m *machine) setHome(dir string) error {
	return errors.Join(
		setEntry("/etc/passwd", fmt.Sprintf("x:%d:%d::%s:/bin/sh", faults.UserID, faults.UserID, dir)),
		setEntry("/etc/group", fmt.Sprintf("x:%d:", faults.UserID)),
		setEntry("/etc/shadow", "*:19000:0:99999:7:::"))
}

// setEntry replaces the account's entry in a file of the private machine's /etc.
func setEntry(name, entry string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, account+":") {
			out.WriteString(line)
		}
	}
	out.WriteString(account + ":" + entry + "\n")
	return os.WriteFile(name, []byte(out.String()), 0o600)
}

// close ends sshd and removes the machine's folder.
func (m *machine) close() error {
	if m.sshd != nil && m.sshd.Process != nil {
		m.sshd.Process.Kill()
		m.sshd.Wait()
	}
	return os.RemoveAll(m.dir)
}
