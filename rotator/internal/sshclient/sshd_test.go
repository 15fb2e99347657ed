package sshclient

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// newKey makes a key of the given type, "ed25519", "ecdsa" or "rsa".
func newKey(t *testing.T, kind string) (crypto.Signer, ssh.Signer) {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		t.Fatalf("unknown kind of key %q", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, signer
}

// sshd is a real OpenSSH server that runs as the current user and accepts one key.
type sshd struct {
	port     int
	user     string
	key      ssh.Signer
	hostKeys map[string]ssh.PublicKey // by kind
}

func (s sshd) target(kinds ...string) Target {
	t := Target{Name: "i-0test", Address: "127.0.0.1", Port: s.port, User: s.user}
	for _, kind := range kinds {
		t.HostKeys = append(t.HostKeys, s.hostKeys[kind])
	}
	return t
}

// startSSHD starts a server with host keys of the given kinds and further lines of configuration.
func startSSHD(t *testing.T, kinds []string, lines ...string) sshd {
	t.Helper()
	binary := findSSHD(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := sshd{port: freePort(t), user: me.Username, hostKeys: make(map[string]ssh.PublicKey)}
	_, s.key = newKey(t, "ed25519")
	config := []string{
		fmt.Sprintf("Port %d", s.port), "ListenAddress 127.0.0.1", "PidFile none", "UsePAM no", "StrictModes no",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"AuthorizedKeysFile " + filepath.Join(dir, "keys"),
	}
	if !strings.HasPrefix(strings.Join(lines, "\n"), "Subsystem") {
		config = append(config, "Subsystem sftp internal-sftp")
	}
	for _, kind := range kinds {
		file := filepath.Join(dir, "host_"+kind)
		s.hostKeys[kind] = writeHostKey(t, file, kind)
		config = append(config, "HostKey "+file)
	}
	writeFile(t, filepath.Join(dir, "keys"), string(ssh.MarshalAuthorizedKey(s.key.PublicKey())))
	// The first value of an option counts, so that a test can replace one of those above.
	writeFile(t, filepath.Join(dir, "config"), strings.Join(append(lines, config...), "\n")+"\n")
	serve(t, binary, filepath.Join(dir, "config"))
	return s
}

func findSSHD(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"} {
		if _, err := os.Stat(path); err == nil {
			if os.Geteuid() == 0 {
				// What the service's unit would make; sshd does not start as root without it.
				if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
					t.Fatal(err)
				}
			}
			return path
		}
	}
	t.Skip("not run: there is no sshd on this machine")
	return ""
}

// serve runs sshd until the end of the test, and returns once it listens.
func serve(t *testing.T, binary, config string) {
	t.Helper()
	cmd := exec.Command(binary, "-D", "-e", "-f", config)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		var said strings.Builder
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			fmt.Fprintln(&said, lines.Text())
			if strings.HasPrefix(lines.Text(), "Server listening") {
				listening <- ""
			}
		}
		listening <- said.String()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-read
		cmd.Wait()
	})
	if said := <-listening; said != "" {
		t.Fatalf("sshd did not start:\n%s", said)
	}
}

func writeHostKey(t *testing.T, file, kind string) ssh.PublicKey {
	t.Helper()
	key, signer := newKey(t, kind)
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, string(pem.EncodeToMemory(block)))
	return signer.PublicKey()
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func mustDial(t *testing.T, target Target, key ssh.Signer) *Client {
	t.Helper()
	c, err := Dial(t.Context(), target, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
