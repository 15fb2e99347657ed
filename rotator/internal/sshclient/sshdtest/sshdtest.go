// Package sshdtest runs real OpenSSH servers for tests, as the user who runs the tests.
package sshdtest

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

// NewKey makes a key of the given type, "ed25519", "ecdsa" or "rsa".
func NewKey(t testing.TB, kind string) (crypto.Signer, ssh.Signer) {
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

// Server is a running sshd.
type Server struct {
	Port     int
	User     string                   // whom it lets in
	Key      ssh.Signer               // what it accepts at first
	KeysFile string                   // its AuthorizedKeysFile
	HostKeys map[string]ssh.PublicKey // by kind
}

// Start runs a server until the end of the test, with a host key of each of the given kinds ("ed25519",
// "ecdsa", "rsa") and with further lines of configuration, which win over its own. It skips the test where
// there is no sshd.
func Start(t testing.TB, kinds []string, lines ...string) *Server {
	t.Helper()
	binary := findSSHD(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &Server{Port: FreePort(t), User: me.Username, HostKeys: make(map[string]ssh.PublicKey), KeysFile: filepath.Join(dir, "keys")}
	_, s.Key = NewKey(t, "ed25519")
	config := []string{
		fmt.Sprintf("Port %d", s.Port), "ListenAddress 127.0.0.1", "PidFile none", "UsePAM no", "StrictModes no",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "AuthorizedKeysFile " + s.KeysFile,
	}
	if !strings.HasPrefix(strings.Join(lines, "\n"), "Subsystem") {
		config = append(config, "Subsystem sftp internal-sftp")
	}
	for _, kind := range kinds {
		file := filepath.Join(dir, "host_"+kind)
		s.HostKeys[kind] = writeHostKey(t, file, kind)
		config = append(config, "HostKey "+file)
	}
	writeFile(t, s.KeysFile, string(ssh.MarshalAuthorizedKey(s.Key.PublicKey())))
	writeConfig(t, binary, filepath.Join(dir, "config"), append(lines, config...))
	serve(t, binary, filepath.Join(dir, "config"))
	return s
}

// findSSHD gives the server's absolute path, which it needs to run itself again.
func findSSHD(t testing.TB) string {
	t.Helper()
	for _, name := range []string{os.Getenv("ROTATESSH_SSHD"), "sshd", "/usr/sbin/sshd", "/usr/local/sbin/sshd"} {
		found, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if found, err = filepath.Abs(found); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			// What the service's unit would make; sshd does not start as root without it.
			if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
				t.Fatal(err)
			}
		}
		return found
	}
	t.Skip("not run: there is no sshd on this machine")
	return ""
}

// writeConfig adds what only some versions know: later ones shut out an address after a few refused keys, and
// consist of several programs, which lie elsewhere when the server is unpacked and not installed. The first
// value of an option counts.
func writeConfig(t testing.TB, binary, file string, lines []string) {
	t.Helper()
	helpers := filepath.Join(filepath.Dir(filepath.Dir(binary)), "lib", "openssh")
	for _, line := range []string{"PerSourcePenalties no", "SshdSessionPath " + helpers + "/sshd-session", "SshdAuthPath " + helpers + "/sshd-auth"} {
		if _, path, found := strings.Cut(line, " /"); found {
			if _, err := os.Stat("/" + path); err != nil {
				continue
			}
		}
		writeFile(t, file, strings.Join(append([]string{line}, lines...), "\n")+"\n")
		if exec.Command(binary, "-t", "-f", file).Run() == nil {
			lines = append([]string{line}, lines...)
		}
	}
	writeFile(t, file, strings.Join(lines, "\n")+"\n")
}

// serve runs sshd until the end of the test, and returns once it listens.
func serve(t testing.TB, binary, config string) {
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

func writeHostKey(t testing.TB, file, kind string) ssh.PublicKey {
	t.Helper()
	key, signer := NewKey(t, kind)
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, string(pem.EncodeToMemory(block)))
	return signer.PublicKey()
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// FreePort is a TCP port that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
