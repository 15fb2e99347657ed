package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ErrNoSSHD says that there is no OpenSSH server on this machine.
var ErrNoSSHD = errors.New("there is no OpenSSH server on this machine")

// sshServer is the installed OpenSSH server and what its version needs in a configuration.
type sshServer struct {
	path    string
	version string // "OpenSSH_9.2p1 Debian-2+deb12u7", as the server calls itself on the wire
	extra   []string
}

var versionText = regexp.MustCompile(`OpenSSH_[^\s,]+`)

func findSSHD(ctx context.Context, path string) (sshServer, error) {
	path, err := sshdPath(path)
	if err != nil {
		return sshServer{}, err
	}
	s := sshServer{path: path, extra: movedHelpers(path)}
	// Versions before 9.3 do not know -V, but print their version above the usage.
	out, _ := exec.CommandContext(ctx, path, "-V").CombinedOutput()
	s.version = versionText.FindString(string(out))
	if s.version == "" {
		return sshServer{}, fmt.Errorf("%q does not say which version of OpenSSH it is: %.200q", path, out)
	}
	return s, nil
}

// sshdPath is absolute: sshd refuses to run by any other, since it executes itself again.
func sshdPath(path string) (string, error) {
	if path == "" {
		path = os.Getenv("ROTATESSH_SSHD")
	}
	if path != "" {
		path, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		_, err = exec.LookPath(path)
		return path, err
	}
	for _, name := range []string{"sshd", "/usr/sbin/sshd", "/usr/local/sbin/sshd"} {
		if found, err := exec.LookPath(name); err == nil {
			return filepath.Abs(found)
		}
	}
	return "", ErrNoSSHD
}

// movedHelpers tells an unpacked but not installed sshd of version 9.8 or later where the programs are that
// it was compiled to look for elsewhere.
func movedHelpers(path string) []string {
	root := filepath.Dir(filepath.Dir(path))
	if root == "/usr" || root == "/usr/local" || root == "/" {
		return nil
	}
	var lines []string
	for keyword, name := range map[string]string{"SshdSessionPath": "sshd-session", "SshdAuthPath": "sshd-auth"} {
		for _, dir := range []string{"lib/openssh", "libexec/openssh", "libexec", "lib/ssh"} {
			if helper := filepath.Join(root, dir, name); isFile(helper) {
				lines = append(lines, keyword+" "+helper)
				break
			}
		}
	}
	return lines
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// prepare finds out which settings this sshd knows, by asking it, and makes the folder that it wants to
// exist when it runs as root.
func (s *sshServer) prepare(ctx context.Context, w *Worker) error {
	if os.Getuid() == 0 {
		//nolint:gosec // the mode that the distribution's own unit gives it
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return fmt.Errorf("making sshd's folder: %w", err)
		}
	}
	w.Port = choosePort()
	// From version 9.8 on, sshd shuts out an address with failed attempts for a while. Every worker of the
	// demo, and every controller, has the same address.
	for _, lines := range [][]string{append([]string{"PerSourcePenalties no"}, s.extra...), s.extra} {
		if err := os.WriteFile(w.file("sshd_config"), s.config(w, lines), 0o600); err != nil {
			return err
		}
		out, err := exec.CommandContext(ctx, s.path, "-t", "-f", w.file("sshd_config")).CombinedOutput()
		if err == nil {
			s.extra = lines
			return nil
		}
		if !bytes.Contains(out, []byte("PerSourcePenalties")) {
			return fmt.Errorf("%s refuses its configuration: %s", s.path, bytes.TrimSpace(out))
		}
	}
	return nil
}

func (s *sshServer) config(w *Worker, extra []string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "ListenAddress 127.0.0.1\nPort %d\n", w.Port)
	for _, k := range w.hostKeys {
		fmt.Fprintf(&b, "HostKey \"%s\"\n", k.file)
	}
	fmt.Fprintf(&b, "AuthorizedKeysFile \"%s/%%u\"\n", w.keysDir())
	// A home of its own, or every log-in would run the start-up file of the shell of whoever runs the demo.
	fmt.Fprintf(&b, "SetEnv \"HOME=%s\"\n", w.home())
	b.WriteString(`StrictModes yes
PidFile none
UsePAM no
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PermitUserRC no
PrintMotd no
UseDNS no
LoginGraceTime 30
MaxStartups 500
LogLevel VERBOSE
`)
	// Relative paths of copies begin in the worker's home, too. sshd splits this line at every blank.
	sftp := "Subsystem sftp internal-sftp"
	if !strings.ContainsAny(w.home(), " \t") {
		sftp += " -d " + w.home()
	}
	b.WriteString(sftp + "\n")
	for _, line := range extra {
		b.WriteString(line + "\n")
	}
	return b.Bytes()
}

// errPortTaken says that another program has taken the port that was chosen.
var errPortTaken = errors.New("port is taken")

// startSSHD starts the worker's sshd on a free port and waits until it listens.
func (f *Fleet) startSSHD(ctx context.Context, w *Worker) error {
	const tries = 20
	for range tries {
		w.Port = choosePort()
		if err := os.WriteFile(w.file("sshd_config"), f.sshd.config(w, f.sshd.extra), 0o600); err != nil {
			return err
		}
		err := f.runSSHD(ctx, w)
		if !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return fmt.Errorf("finding a port for the sshd of %s: %w", w.Name, errPortTaken)
}

// choosePort stays below the range from which the kernel gives ports to outgoing connections, so that no
// log-in of our own takes a port between now and sshd's start.
func choosePort() int {
	for {
		port := 10000 + rand.IntN(32768-10000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
}

func (f *Fleet) runSSHD(ctx context.Context, w *Worker) error {
	proc, err := f.launch(program{
		name: w.Name + " sshd",
		argv: []string{f.sshd.path, "-D", "-e", "-f", w.file("sshd_config")},
		dir:  w.dir, env: baseEnv(), log: w.file(sshdLog),
	})
	if err != nil {
		return err
	}
	// The log is asked, not the port: on the port another sshd might answer.
	for listening := fmt.Sprintf("Server listening on 127.0.0.1 port %d.", w.Port); ; {
		if logHas(w.file(sshdLog), listening) {
			w.setSSHD(proc)
			return nil
		}
		select {
		case <-proc.done:
			if logHas(w.file(sshdLog), fmt.Sprintf("Bind to port %d on 127.0.0.1 failed", w.Port)) {
				return errPortTaken
			}
			return proc.exitError()
		case <-ctx.Done():
			proc.kill()
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func logHas(path, text string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if strings.Contains(lines.Text(), text) {
			return true
		}
	}
	return false
}

// baseEnv is all that a child gets of this process's environment: in particular no AWS_ variable, with
// which a user's own profile or keys would come in.
func baseEnv() []string {
	env := []string{
		"AWS_CONFIG_FILE=/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE=/dev/null",
	}
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH"} {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	return env
}
