package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient/sshdtest"
)

// world is a deployment for the commands to act on: the endpoint, the compiled rotator as its Lambda
// function, one real sshd, and workers that all live behind that sshd.
type world struct {
	t       *testing.T
	server  *localaws.Server
	secrets *secretsmanager.Client
	keysets *keystore.Reader
	ledger  *ledger.Client
	arn     string // of the key-pair secret
	lambda  string
	program string // the rotator's
	timeout time.Duration
	allow   func() // lets everybody invoke it again
	sshd    *sshdtest.Server

	mu      sync.Mutex
	workers map[string]*machine // by name
	pass    int64
	answers int // of the rotator to who its workers are, when that was looked at last
}

// machine is one worker. Its agent is the loop in world.agents.
type machine struct {
	localaws.Instance
	follows bool              // it has an agent that acknowledges
	change  func(*ledger.Ack) // spoils its acknowledgements
}

func newWorld(t *testing.T, bootstrap string) *world {
	t.Helper()
	server, err := localaws.Start(localaws.Options{RetryRotationAfter: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"), config.WithBaseEndpoint(server.URL()),
		config.WithSharedConfigFiles(nil), config.WithSharedCredentialsFiles(nil),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAOPERATOR", "secret", "")))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, server: server, secrets: secretsmanager.NewFromConfig(cfg), ledger: ledger.New(dynamodb.NewFromConfig(cfg), "rotatessh-ledger"),
		sshd: sshdtest.Start(t, []string{"ed25519", "ecdsa"}), workers: make(map[string]*machine), allow: func() {},
		program: bootstrap, timeout: 3 * time.Second,
	}
	w.keysets = keystore.NewReader(w.secrets, "/dev/ssh/public")
	w.provision(dynamodb.NewFromConfig(cfg))
	stopped := make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	go func() { defer close(stopped); w.agents(ctx) }()
	t.Cleanup(func() { stop(); <-stopped })
	return w
}

func build(t *testing.T, pkg string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), filepath.Base(pkg))
	if out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", binary, pkg).CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", pkg, err, out)
	}
	return binary
}

func (w *world) provision(db *dynamodb.Client) {
	w.t.Helper()
	for _, name := range []string{"/dev/ssh", "/dev/ssh/public"} {
		out, err := w.secrets.CreateSecret(w.t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("{}")})
		if err != nil {
			w.t.Fatal(err)
		}
		if name == "/dev/ssh" {
			w.arn = aws.ToString(out.ARN)
		}
	}
	attribute := func(name string) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: types.ScalarAttributeTypeS}
	}
	_, err := db.CreateTable(w.t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String("rotatessh-ledger"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{attribute("pk"), attribute("sk")},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.deploy(nil, nil); err != nil {
		w.t.Fatal(err)
	}
}

// settings NAME=VALUE...: deploys the rotator again, with these settings besides its own.
func (w *world) deploy(_ *testscript.TestScript, settings []string) (err error) {
	w.lambda, err = w.server.CreateFunction(localaws.FunctionSpec{
		Name: defaultFunction, Command: []string{w.program}, Timeout: w.timeout, Stderr: w.t.Output(),
		Env: append([]string{"ROTATESSH_USER=" + w.sshd.User, "ROTATESSH_RETIRE_AFTER=1h", "ROTATESSH_GATE_MARGIN=1s"}, settings...),
	})
	return err
}

// agents brings every worker that follows up to date, again and again.
func (w *world) agents(ctx context.Context) {
	for ctx.Err() == nil {
		if doc, err := w.keysets.Fetch(ctx); err == nil {
			w.follow(ctx, doc)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (w *world) follow(ctx context.Context, doc keystore.Document) {
	w.mu.Lock()
	defer w.mu.Unlock()
	user := ledger.User{Name: w.sshd.User, File: w.sshd.KeysFile}
	var file strings.Builder
	for _, k := range doc.Keyset.Keys {
		print := k.PublicKey.Fingerprint()
		fmt.Fprintln(&file, k.PublicKey)
		user.Fingerprints = append(user.Fingerprints, print)
		user.Keys = append(user.Keys, ledger.KeyStatus{Fingerprint: print, State: string(k.State), Accepted: ledger.Yes})
	}
	for _, r := range doc.Keyset.Retired {
		user.Keys = append(user.Keys, ledger.KeyStatus{Fingerprint: r.Fingerprint, State: "retired", Accepted: ledger.No})
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(w.workers)), func(m *machine) bool { return m.follows }) {
		return
	}
	if err := w.writeKeys(file.String()); err != nil {
		w.t.Error(err)
	}
	w.pass++
	for _, m := range w.workers {
		if !m.follows {
			continue
		}
		ack := ledger.Ack{
			Worker: m.ARN, SecretARN: w.arn, KeysetARN: doc.ARN, KeysetVersionID: doc.VersionID, Generation: doc.Keyset.Generation, Pass: w.pass,
			Outcome: ledger.Applied, Users: []ledger.User{user}, Port: w.sshd.Port, AgentVersion: "v0.0.1", AppliedAt: time.Now(), ReportedAt: time.Now(),
		}
		for _, kind := range []string{"ed25519", "ecdsa"} {
			ack.HostKeys = append(ack.HostKeys, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(w.sshd.HostKeys[kind]))))
		}
		if m.change != nil {
			m.change(&ack)
		}
		if _, err := w.ledger.PutAck(ctx, ack); err != nil && ctx.Err() == nil {
			w.t.Error(err)
		}
	}
}

// writeKeys replaces sshd's file in one go: log-ins happen at any time.
func (w *world) writeKeys(content string) error {
	temp := w.sshd.KeysFile + ".new"
	if err := os.WriteFile(temp, []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, w.sshd.KeysFile)
}

func (w *world) setup(env *testscript.Env) error {
	env.Vars = append(env.Vars, w.server.Env()...)
	env.Vars = append(env.Vars, "ME="+w.sshd.User)
	return isolate(env)
}

// commands are what scripts do to the world.
func (w *world) commands() map[string]func(*testscript.TestScript, bool, []string) {
	with := func(f func(ts *testscript.TestScript, args []string) error) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("this command cannot be negated")
			}
			ts.Check(f(ts, args))
		}
	}
	return map[string]func(*testscript.TestScript, bool, []string){
		"worker":  with(w.addWorker),
		"agent":   with(w.startAgent),
		"spoil":   with(w.spoil),
		"enable":  with(w.enable),
		"replace": with(w.replace),
		"accept":  with(w.accept),
		"until":   with(w.until),

		"settings": with(w.deploy),
		"remote":   with(w.addRemote),
		"static":   with(w.addStatic),
		"crowd":    with(w.addCrowd),
		"invoke":   with(w.permit),
		"older":    with(w.deployOlder),
		"asked":    with(w.asked),
	}
}

// worker NAME...: running instances without an agent. Their ids are put into $NAME.
func (w *world) addWorker(ts *testscript.TestScript, names []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range names {
		label, _, _ := strings.Cut(name, "/") // a name can be given twice: "b/2" is called b, too
		i, err := w.server.RunInstance(localaws.Instance{
			NoMetadata: true, LaunchTime: time.Now().Add(-time.Hour), Tags: map[string]string{"RotateSSHKeys": "True", "Name": label},
		})
		if err != nil {
			return err
		}
		ts.Setenv(name, i.ID)
		w.workers[name] = &machine{Instance: i}
	}
	return nil
}

// agent NAME...: starts the agents of workers.
func (w *world) startAgent(_ *testscript.TestScript, names []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range names {
		w.workers[name].follows = true
	}
	return nil
}

// spoil NAME WHAT: makes a worker's next acknowledgements wrong in one respect.
func (w *world) spoil(_ *testscript.TestScript, args []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, other := sshdtest.NewKey(w.t, "ed25519")
	w.workers[args[0]].change = map[string]func(*ledger.Ack){
		"nothing":       nil,
		"host-key":      func(a *ledger.Ack) { a.HostKeys = []string{string(ssh.MarshalAuthorizedKey(other.PublicKey()))} },
		"no-host-key":   func(a *ledger.Ack) { a.HostKeys = nil },
		"port":          func(a *ledger.Ack) { a.Port = sshdtest.FreePort(w.t) },
		"failed":        func(a *ledger.Ack) { a.Outcome, a.Code, a.Message = ledger.Failed, "read-only", "bad \x1b[31mdisk" },
		"still-accepts": func(a *ledger.Ack) { a.Users[0].Keys[len(a.Users[0].Keys)-1].Accepted = ledger.Yes },
	}[args[1]]
	return nil
}

// enable: sets up rotation, which rotates at once, or with "without" sets up nothing.
func (w *world) enable(_ *testscript.TestScript, _ []string) error {
	_, err := w.secrets.RotateSecret(w.t.Context(), &secretsmanager.RotateSecretInput{SecretId: &w.arn, RotationLambdaARN: &w.lambda})
	return err
}

// replace: writes a version by hand, as somebody might who does not know that the secret rotates.
func (w *world) replace(_ *testscript.TestScript, args []string) error {
	_, err := w.secrets.PutSecretValue(w.t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &w.arn, SecretString: &args[0]})
	return err
}

// accept LABEL: stops all agents and lets sshd accept that version's key alone, or with "nothing", none.
func (w *world) accept(_ *testscript.TestScript, args []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.workers {
		m.follows = false
	}
	if args[0] == "nothing" {
		return w.writeKeys("")
	}
	pair, err := (&backend{secret: w.arn, secrets: w.secrets}).pair(w.t.Context(), args[0])
	if err != nil {
		return err
	}
	return w.writeKeys(pair.PublicKey().String() + "\n")
}

// until idle|acked|failing|noticed: until no rotation is pending, every agent has acknowledged once more, the
// rotator has reported a failure, or a command that runs has looked at the reports twice.
func (w *world) until(_ *testscript.TestScript, args []string) error {
	conditions := map[string]func(context.Context) bool{"idle": w.idle, "acked": w.acked(), "failing": w.failing, "noticed": w.noticed()}
	for ctx := w.t.Context(); !conditions[args[0]](ctx); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func (w *world) idle(ctx context.Context) bool {
	s, err := (&backend{secret: w.arn, secrets: w.secrets}).describe(ctx)
	return err == nil && s.holder(labelPending) == "" && !s.LastRotated.IsZero()
}

func (w *world) acked() func(context.Context) bool {
	w.mu.Lock()
	since := w.pass
	w.mu.Unlock()
	return func(ctx context.Context) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, m := range w.workers {
			acks, err := w.ledger.Acks(ctx, w.arn, []string{m.ARN}, time.Now())
			if err != nil || m.follows && acks[m.ARN].Pass <= since {
				return false
			}
		}
		return true
	}
}

// noticed counts calls that only a command makes: the rotator is another principal, and the world itself
// does not query meanwhile.
func (w *world) noticed() func(context.Context) bool {
	looks := func() (n int) {
		for _, c := range w.server.Calls() {
			if c.Service == "dynamodb" && c.Action == "Query" && c.Principal == "operator" && bytes.Contains(c.Input, []byte("report#")) {
				n++
			}
		}
		return n
	}
	before := looks()
	return func(context.Context) bool { return looks() >= before+2 }
}

func (w *world) failing(ctx context.Context) bool {
	reports, err := w.ledger.Reports(ctx, w.arn, 10)
	return err == nil && slices.ContainsFunc(reports, func(r ledger.Report) bool { return !r.Passed })
}
