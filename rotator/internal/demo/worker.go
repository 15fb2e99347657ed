package demo

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient"
)

// Worker is one machine of the fleet: a folder with an sshd, its authorized_keys and an agent.
type Worker struct {
	Name string
	ID   string // instance id
	ARN  string // instance ARN
	Port int    // of its sshd, on 127.0.0.1

	user     string
	dir      string
	metadata string // URL of its instance metadata
	hostKeys []hostKey
	foreign  []byte // what authorized_keys held before the agent saw it

	agentless bool // it has no agent at all

	// What keeps its programs running; see power.go.
	sshdKeeper, agentKeeper keeper

	mu     sync.Mutex
	sshd   *process
	agent  *process
	killed bool // the agent's end is our doing
}

func (w *Worker) file(name string) string { return filepath.Join(w.dir, name) }

func (w *Worker) keysDir() string { return w.file("keys") }

// home is where copied files go, too.
func (w *Worker) home() string { return w.file("home") }

func (w *Worker) keysFile() string { return filepath.Join(w.keysDir(), w.user) }

func (w *Worker) setSSHD(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sshd = p
}

// Target is how a controller reaches the worker's sshd. Its host keys are the ones that were made for the
// worker, not ones that the agent has told.
func (w *Worker) Target() sshclient.Target {
	t := sshclient.Target{Name: w.Name, Address: "127.0.0.1", Port: w.Port, User: w.user}
	for _, k := range w.hostKeys {
		t.HostKeys = append(t.HostKeys, k.public.SSH())
	}
	return t
}

// newWorker makes a worker's folder. Nothing runs yet.
func newWorker(parent, user string, n int) (*Worker, error) {
	w := &Worker{Name: fmt.Sprintf("worker-%d", n), user: user}
	w.dir = filepath.Join(parent, w.Name)
	for _, dir := range []string{w.dir, w.keysDir(), w.file("state"), w.home()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the folder of %s: %w", w.Name, err)
		}
	}
	var err error
	if w.hostKeys, err = makeHostKeys(w.dir); err != nil {
		return nil, err
	}
	if w.foreign, err = foreignLines(); err != nil {
		return nil, err
	}
	return w, os.WriteFile(w.keysFile(), w.foreign, 0o600)
}

// foreignLines are two lines as an administrator might have written them, odd spacing included: the demo
// shows that they survive to the byte.
func foreignLines() ([]byte, error) {
	var out bytes.Buffer
	for _, layout := range []string{"%s  the administrator's own\t \n", "no-pty,command=\"/bin/false  # not for log-ins\" %s backup\n"} {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		converted, err := ssh.NewPublicKey(public)
		if err != nil {
			return nil, err
		}
		key, err := keyset.NewPublicKey(converted)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, layout, key)
	}
	return out.Bytes(), nil
}

// foreignKept reports whether authorized_keys, without the block managed for the secret, is what it was.
func (w *Worker) foreignKept(secretARN string) (bool, error) {
	data, err := os.ReadFile(w.keysFile())
	if err != nil {
		return false, err
	}
	return bytes.Equal(withoutBlock(data, secretARN), w.foreign), nil
}

// withoutBlock cuts the lines from the begin marker to the end marker of a secret.
func withoutBlock(data []byte, secretARN string) []byte {
	var rest []byte
	inside := false
	for line := range bytes.Lines(data) {
		if bytes.HasPrefix(line, []byte("# BEGIN rotatessh "+secretARN)) {
			inside = true
		}
		if !inside {
			rest = append(rest, line...)
		}
		if bytes.HasPrefix(line, []byte("# END rotatessh "+secretARN)) {
			inside = false
		}
	}
	return rest
}

// enroll makes the worker an instance of the fleet in the AWS endpoint's inventory.
func (w *Worker) enroll(server *localaws.Server) error {
	instance, err := server.RunInstance(localaws.Instance{
		PrivateIP: "127.0.0.1",
		Tags:      map[string]string{tagName: tagValue, "Name": w.Name},
	})
	if err != nil {
		return fmt.Errorf("enrolling %s: %w", w.Name, err)
	}
	w.ID, w.ARN, w.metadata = instance.ID, instance.ARN, instance.MetadataURL
	return nil
}

// agentConfig keeps everything at the shipped default that is not about the place: in particular the
// beacon's interval of 60 s, so that only the subscription explains a quick answer.
func (w *Worker) agentConfig(logLevel string) []byte {
	return fmt.Appendf(nil, `stateDir: %q
logLevel: %s
users:
  - name: %q
    file: %q
sshd:
  address: 127.0.0.1:%d
  hostKeys: %q
subscription:
  enabled: true
`, w.file("state"), logLevel, w.user, w.keysDir()+"/%u", w.Port, w.file("ssh_host_*_key.pub"))
}

// runAgent starts the worker's agent.
func (f *Fleet) runAgent(w *Worker) (*process, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	proc, err := f.launch(program{
		name: w.Name + " agent",
		argv: []string{f.options.Binaries.Agent, "run", "--config", w.file("agent.yaml")},
		dir:  w.dir,
		env: append(baseEnv(),
			"AWS_ENDPOINT_URL="+f.server.URL(),
			"AWS_EC2_METADATA_SERVICE_ENDPOINT="+w.metadata),
		log: w.file("agent.log"),
	})
	w.agent, w.killed = proc, false
	return proc, err
}

const (
	restartAfter = 100 * time.Millisecond // as a service manager would, only sooner
	quickDeaths  = 5                      // that many in a row of an agent that lived for less than a second
)

// keepAgent starts the agent and restarts it whenever it ends, until the fleet closes. An agent that cannot
// live ends the fleet.
func (f *Fleet) keepAgent(ctx context.Context, w *Worker) {
	for quick := 0; ; {
		proc, err := f.runAgent(w)
		if err != nil {
			f.fail(err)
			return
		}
		born := time.Now()
		select {
		case <-ctx.Done():
			proc.stop(2 * time.Second)
			return
		case <-proc.done:
		}
		if quick++; w.agentKilled() || time.Since(born) > time.Second {
			quick = 0
		}
		if quick >= quickDeaths {
			f.fail(proc.exitError())
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(restartAfter):
		}
	}
}

func (w *Worker) agentKilled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.killed
}

// KillAgent kills the worker's agent without notice. It is started again, as a service manager would.
func (w *Worker) KillAgent() {
	w.mu.Lock()
	proc := w.agent
	w.killed = true
	w.mu.Unlock()
	if proc != nil {
		proc.kill()
	}
}

// keepSSHD ends the fleet if the worker's sshd ends before it.
func (f *Fleet) keepSSHD(ctx context.Context, w *Worker) {
	w.mu.Lock()
	proc := w.sshd
	w.mu.Unlock()
	select {
	case <-ctx.Done():
		proc.stop(2 * time.Second)
	case <-proc.done:
		f.fail(proc.exitError())
	}
}
