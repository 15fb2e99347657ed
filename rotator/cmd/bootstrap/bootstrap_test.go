package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"os"
	"strconv"
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
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

// asFunction makes this test binary the Lambda function that it tests.
const asFunction = "BOOTSTRAP_TEST_AS_FUNCTION"

func TestMain(m *testing.M) {
	if os.Getenv(asFunction) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// deployment is the function with everything around it that a template would create.
type deployment struct {
	t       testing.TB
	aws     *localaws.Server
	secrets *secretsmanager.Client
	db      *dynamodb.Client
	ledger  *ledger.Client
	keysets *keystore.Reader
	arn     string
	lambda  string
	env     []string // the function's settings
}

func deploy(t testing.TB, env ...string) *deployment {
	t.Helper()
	return deployRetrying(t, 50*time.Millisecond, env...)
}

// deployRetrying is deploy with the time after which Secrets Manager retries a failed rotation.
func deployRetrying(t testing.TB, after time.Duration, env ...string) *deployment {
	t.Helper()
	server, err := localaws.Start(localaws.Options{RetryRotationAfter: after})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Log(err)
		}
	})
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"), config.WithBaseEndpoint(server.URL()),
		config.WithSharedConfigFiles(nil), config.WithSharedCredentialsFiles(nil),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAOPERATOR", "secret", "")))
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{t: t, aws: server, secrets: secretsmanager.NewFromConfig(cfg), db: dynamodb.NewFromConfig(cfg), env: env}
	d.ledger = ledger.New(d.db, "rotatessh-ledger")
	d.keysets = keystore.NewReader(d.secrets, "/dev/ssh/public")
	d.arn = d.createSecret("/dev/ssh")
	d.createSecret("/dev/ssh/public")
	_, err = d.db.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String("rotatessh-ledger"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.patience(time.Minute)
	return d
}

// patience creates the function with the time that it may take, or again with another one.
func (d *deployment) patience(timeout time.Duration) {
	d.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		d.t.Fatal(err)
	}
	d.lambda, err = d.aws.CreateFunction(localaws.FunctionSpec{
		Name: "RotateSSH", Command: []string{exe}, Env: append([]string{asFunction + "=1"}, d.env...), Timeout: timeout, Stderr: d.t.Output(),
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *deployment) createSecret(name string) string {
	d.t.Helper()
	out, err := d.secrets.CreateSecret(d.t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("{}")})
	if err != nil {
		d.t.Fatal(err)
	}
	return aws.ToString(out.ARN)
}

// rotate has Secrets Manager rotate and waits until it says that the rotation is done.
func (d *deployment) rotate() {
	d.t.Helper()
	before := d.lastRotated()
	if _, err := d.secrets.RotateSecret(d.t.Context(), &secretsmanager.RotateSecretInput{SecretId: &d.arn, RotationLambdaARN: &d.lambda}); err != nil {
		d.t.Fatal(err)
	}
	d.eventually("rotation finished", func() bool { return d.lastRotated().After(before) })
}

func (d *deployment) lastRotated() time.Time {
	d.t.Helper()
	s, err := d.secrets.DescribeSecret(d.t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &d.arn})
	if err != nil {
		d.t.Fatal(err)
	}
	return aws.ToTime(s.LastRotatedDate)
}

func (d *deployment) eventually(what string, done func() bool) {
	d.t.Helper()
	for !done() {
		select {
		case <-d.t.Context().Done():
			d.t.Fatalf("never came true: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (d *deployment) currentPair() keypair.Pair {
	d.t.Helper()
	out, err := d.secrets.GetSecretValue(d.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &d.arn})
	if err != nil {
		d.t.Fatal(err)
	}
	pair, err := keypair.Decode([]byte(aws.ToString(out.SecretString)))
	if err != nil {
		d.t.Fatal(err)
	}
	return pair
}

// machine is a worker: an SSH server that accepts the keys of the keyset that it acknowledged last.
type machine struct {
	arn     string
	port    int
	host    ssh.Signer
	mu      sync.Mutex
	accept  []keyset.Key
	refuse  bool
	exit    uint32
	handled int
}

func (d *deployment) addMachine() *machine {
	d.t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	host, err := ssh.NewSignerFromKey(key)
	if err != nil {
		d.t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { listener.Close() })
	i, err := d.aws.RunInstance(localaws.Instance{Tags: map[string]string{"RotateSSHKeys": "True"}, NoMetadata: true, LaunchTime: time.Now().Add(-time.Hour)})
	if err != nil {
		d.t.Fatal(err)
	}
	m := &machine{arn: i.ARN, host: host, port: listener.Addr().(*net.TCPAddr).Port}
	go m.serve(listener)
	go d.run(d.t.Context(), m)
	return m
}

func (m *machine) serve(listener net.Listener) {
	conf := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, k := range m.accept {
			if string(k.PublicKey.Blob()) == string(key.Marshal()) && c.User() == "ec2-user" && !m.refuse {
				return &ssh.Permissions{}, nil
			}
		}
		return nil, errors.New("unknown key")
	}}
	conf.AddHostKey(m.host)
	for {
		raw, err := listener.Accept()
		if err != nil {
			return
		}
		go m.session(raw, conf)
	}
}

func (m *machine) session(raw net.Conn, conf *ssh.ServerConfig) {
	defer raw.Close()
	_, channels, requests, err := ssh.NewServerConn(raw, conf)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			_ = r.Reply(true, nil)
			if r.Type == "exec" {
				m.mu.Lock()
				m.handled++
				status := m.exit
				m.mu.Unlock()
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
				channel.Close()
			}
		}
	}
}

// run is the machine's agent: it follows the keyset and acknowledges.
func (d *deployment) run(ctx context.Context, m *machine) {
	var seen string
	for pass := int64(1); ctx.Err() == nil; pass++ {
		doc, err := d.keysets.Fetch(ctx)
		if err == nil && doc.VersionID != seen {
			m.mu.Lock()
			m.accept = doc.Keyset.Keys
			m.mu.Unlock()
			if d.acknowledge(ctx, m, doc, pass) == nil {
				seen = doc.VersionID
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (d *deployment) acknowledge(ctx context.Context, m *machine, doc keystore.Document, pass int64) error {
	u := ledger.User{Name: "ec2-user"}
	for _, k := range doc.Keyset.Keys {
		u.Fingerprints = append(u.Fingerprints, k.PublicKey.Fingerprint())
		u.Keys = append(u.Keys, ledger.KeyStatus{Fingerprint: k.PublicKey.Fingerprint(), State: string(k.State), Accepted: ledger.Yes})
	}
	_, err := d.ledger.PutAck(ctx, ledger.Ack{
		Worker: m.arn, SecretARN: d.arn, KeysetARN: doc.ARN, KeysetVersionID: doc.VersionID, Generation: doc.Keyset.Generation,
		Pass: pass, Outcome: ledger.Applied, Users: []ledger.User{u}, Port: m.port,
		HostKeys: []string{strings.TrimSpace(string(ssh.MarshalAuthorizedKey(m.host.PublicKey())))},
	})
	return err
}

func (m *machine) commands() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.handled
}

func TestFunctionRotatesFromAnEmptySecretAndAgain(t *testing.T) {
	d := deploy(t)
	machines := []*machine{d.addMachine(), d.addMachine()}
	d.rotate()
	first := d.currentPair()
	d.rotate()
	second := d.currentPair()
	doc, err := d.keysets.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if current, _ := doc.Keyset.Find(keyset.Current); current.PublicKey != second.PublicKey() {
		t.Errorf("keyset's current key is %v, AWSCURRENT's is %v", current.PublicKey, second)
	}
	if retiring, _ := doc.Keyset.Find(keyset.Retiring); retiring.PublicKey != first.PublicKey() {
		t.Errorf("keyset's retiring key is %v, the first rotation's is %v", retiring.PublicKey, first)
	}
	for _, m := range machines {
		if m.commands() < 2 {
			t.Errorf("worker %s was tried %d times in two rotations", m.arn, m.commands())
		}
	}
}

func TestMisspeltSettingStopsTheFunctionAtStart(t *testing.T) {
	d := deploy(t, "ROTATESSH_RETIRE_AFTR=5m")
	_, err := d.aws.Invoke(t.Context(), "RotateSSH", []byte(`{}`))
	if err == nil {
		t.Fatal("function answered although it has an unknown setting")
	}
}

func TestProbeNamesThePhase(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*machine)
		want  string
	}{
		{"refused key", func(m *machine) { m.refuse = true }, ": auth: "},
		{"command fails", func(m *machine) { m.exit = 3 }, `"true" exited with status 3`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := deploy(t, "ROTATESSH_PROBE_SAMPLE=1")
			m := d.addMachine()
			m.mu.Lock()
			c.spoil(m)
			m.mu.Unlock()
			if _, err := d.secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: &d.arn, RotationLambdaARN: &d.lambda}); err != nil {
				t.Fatal(err)
			}
			var report ledger.Report
			d.eventually("testSecret failed", func() bool {
				reports, err := d.ledger.Reports(t.Context(), d.arn, 10)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range reports {
					if r.Phase == "testSecret" && !r.Passed {
						report = r
					}
				}
				return report.Message != ""
			})
			if !strings.Contains(report.Message, c.want) || !strings.Contains(report.Message, ledger.InstanceID(m.arn)) {
				t.Errorf("report says %q, want the worker and %q", report.Message, c.want)
			}
			if report.Probed != 1 {
				t.Errorf("report counts %d probes, want 1: %s", report.Probed, strconv.Quote(report.Message))
			}
		})
	}
}
