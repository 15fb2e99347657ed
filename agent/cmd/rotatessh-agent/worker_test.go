package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/localaws"
)

// worker is one machine: an sshd, an agent's configuration and the environment to start the agent in.
type worker struct {
	*cluster
	sshd     *sshdtest.Server
	instance localaws.Instance
	user     string
	keys     string // the user's authorized_keys
	dir      string
	config   string
	agent    string
	env      []string
	uid      uint32 // of the agent's process
}

var foreignLines = []string{
	"# kept by hand",
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f somebody@else",
}

// newWorker makes a machine whose one user has two foreign lines in a keys file outside the home. The lines are added to the
// agent's configuration.
func (c *cluster) newWorker(t testing.TB, lines ...string) *worker {
	t.Helper()
	w := c.bareWorker(t)
	w.sshd = sshdtest.Configure(t)
	w.sshd.Allow(t, w.user, foreignLines...)
	w.keys = w.sshd.KeysFile(w.user)
	w.configure(t, filepath.Join(w.sshd.Dir, "keys", "%u"), lines...)
	return w
}

// newHomeWorker makes a machine whose sshd reads the file in the user's home, which does not exist yet.
func (c *cluster) newHomeWorker(t testing.TB, lines ...string) *worker {
	t.Helper()
	sshdtest.NeedPrivate(t)
	w := c.bareWorker(t)
	w.sshd = sshdtest.Configure(t, "AuthorizedKeysFile .ssh/authorized_keys")
	w.keys = filepath.Join("/home", w.user, ".ssh", "authorized_keys")
	if err := os.RemoveAll(w.keys); err != nil {
		t.Fatal(err)
	}
	w.configure(t, "", lines...)
	return w
}

func (c *cluster) bareWorker(t testing.TB) *worker {
	t.Helper()
	instance, err := c.aws.RunInstance(localaws.Instance{Tags: map[string]string{"RotateSSHKeys": "True"}})
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{cluster: c, instance: instance, user: sshdtest.User(t), agent: agentPath(t), dir: t.TempDir(), uid: uint32(os.Geteuid())}
	w.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir,
		"AWS_ENDPOINT_URL=" + c.aws.URL(), "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + instance.MetadataURL,
	}
	return w
}

func (w *worker) configure(t testing.TB, file string, lines ...string) {
	t.Helper()
	w.config = filepath.Join(w.dir, "agent.yaml")
	text := []string{
		"stateDir: " + filepath.Join(w.dir, "state"),
		"logLevel: debug",
		`users: [{name: ` + w.user + `, file: "` + file + `"}]`,
		"sshd: {address: " + w.sshd.Address + ", hostKeys: " + w.sshd.HostKeyFiles + ", configFile: " + w.sshd.Config + "}",
	}
	sshdtest.WriteFile(t, w.config, strings.Join(append(text, lines...), "\n")+"\n", 0o644)
}

// runAsUser lets the agent run as the user whose file it manages.
func (w *worker) runAsUser(t testing.TB) {
	t.Helper()
	// The test's own folders are for root alone.
	dir, err := os.MkdirTemp("/run", "agent-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program, err := os.ReadFile(w.agent)
	if err != nil {
		t.Fatal(err)
	}
	w.uid, w.dir, w.agent = userID, dir, filepath.Join(dir, agentName)
	sshdtest.WriteFile(t, w.agent, string(program), 0o755)
	if err := os.Chown(dir, userID, userID); err != nil {
		t.Fatal(err)
	}
	w.configure(t, "")
}

// userID is sshdtest.Alice's.
const userID = 20001

// file is what the user's authorized_keys holds.
func (w *worker) file(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(w.keys)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// reads is how often the worker has read the keyset secret.
func (w *worker) reads() int {
	n := 0
	for _, c := range w.aws.Calls() {
		if c.Action == "GetSecretValue" && c.Principal == w.instance.ARN {
			n++
		}
	}
	return n
}
