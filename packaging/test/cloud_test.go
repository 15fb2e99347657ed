//go:build installtest

package installtest

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
)

const (
	keyPairSecret = "/dev/ssh"
	keysetSecret  = "/dev/ssh/public"
	ledgerTable   = "rotatessh-ledger"
	retireAfter   = 20 * time.Second
	apiPort       = "8080"
	metadataIP    = "169.254.169.254"
)

// cloud is AWS with the shipped rotator in it, on the other end of the machines' network.
type cloud struct {
	aws    *localaws.Server
	cfg    aws.Config
	ledger *ledger.Client
	secret string // the key-pair secret's ARN

	mu       sync.Mutex
	metadata map[string]string // host:port of an instance's metadata service, by the instance's address
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	server, err := localaws.Start(localaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	c := &cloud{aws: server, metadata: map[string]string{}}
	c.cfg = aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(server.URL()), Credentials: credentials.NewStaticCredentialsProvider("AKIAOPERATOR", "x", "")}
	c.ledger = ledger.New(dynamodb.NewFromConfig(c.cfg), ledgerTable)
	run(t, "ip", "link", "set", "lo", "up")
	run(t, "ip", "address", "replace", metadataIP+"/32", "dev", "lo")
	api := strings.TrimPrefix(server.URL(), "http://")
	c.forward(t, "0.0.0.0:"+apiPort, func(string) string { return api })
	c.forward(t, metadataIP+":80", func(from string) string {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.metadata[from]
	})
	c.provision(t)
	return c
}

// forward passes connections on to where target says for the caller's address; nowhere is a refusal.
func (c *cloud) forward(t *testing.T, listen string, target func(from string) string) {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				from, _, _ := net.SplitHostPort(in.RemoteAddr().String())
				to := target(from)
				if to == "" {
					return
				}
				out, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer out.Close()
				go func() { io.Copy(out, in); out.(*net.TCPConn).CloseWrite() }()
				io.Copy(in, out)
			}()
		}
	}()
}

func (c *cloud) provision(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	secrets := secretsmanager.NewFromConfig(c.cfg)
	for _, name := range []string{keyPairSecret, keysetSecret} {
		out, err := secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("{}")})
		if err != nil {
			t.Fatal(err)
		}
		if name == keyPairSecret {
			c.secret = *out.ARN
		}
	}
	attribute := func(name string) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: types.ScalarAttributeTypeS}
	}
	_, err := dynamodb.NewFromConfig(c.cfg).CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: aws.String(ledgerTable), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{attribute("pk"), attribute("sk")},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.createFunction(t)
}

// createFunction puts the zip's own program in place.
func (c *cloud) createFunction(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	bootstrap := unzip(t)
	log := &console{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("rotator:\n%s", log)
		}
	})
	arn, err := c.aws.CreateFunction(localaws.FunctionSpec{Name: "RotateSSH", Command: []string{bootstrap}, Timeout: time.Minute, Stderr: log,
		Env: []string{"ROTATESSH_RETIRE_AFTER=" + retireAfter.String()}})
	if err != nil {
		t.Fatal(err)
	}
	events := eventbridge.NewFromConfig(c.cfg)
	pattern := `{"source":["aws.secretsmanager"],"detail-type":["Secret Label Updated"],"detail":{"name":["` + keyPairSecret + `"],"labelUpdated":["AWSCURRENT"]}}`
	if _, err = events.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("label"), EventPattern: &pattern}); err == nil {
		_, err = events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("label"), Targets: []eventtypes.Target{{Id: aws.String("1"), Arn: &arn}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	// This also rotates for the first time, while there are no workers.
	_, err = secretsmanager.NewFromConfig(c.cfg).RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: aws.String(keyPairSecret), RotationLambdaARN: &arn,
		RotationRules: &smtypes.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)}})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the first key pair", 30*time.Second, func() (string, bool) {
		_, err := c.tryCurrent(ctx)
		return fmt.Sprint(err), err == nil
	})
}

// unzip gives the one file of the rotator's zip, as executable as it is there.
func unzip(t *testing.T) string {
	t.Helper()
	archive, err := zip.OpenReader(artifact(t, "rotatessh-rotator-"+runtime.GOARCH+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if len(archive.File) != 1 || archive.File[0].Name != "bootstrap" {
		t.Fatalf("the zip does not hold bootstrap alone, but %d files", len(archive.File))
	}
	in, err := archive.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bootstrap")
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, archive.File[0].Mode())
	if err == nil {
		_, err = io.Copy(out, in)
	}
	if err := errors.Join(err, in.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// instance makes a machine an instance: it has an address, a role and a metadata service.
func (c *cloud) instance(t *testing.T, m *machine) localaws.Instance {
	t.Helper()
	i, err := c.aws.RunInstance(localaws.Instance{PrivateIP: m.address(), Tags: map[string]string{"RotateSSHKeys": "True"}})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(i.MetadataURL)
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.metadata[m.address()] = u.Host
	return i
}

func (c *cloud) tryCurrent(ctx context.Context) (ssh.Signer, error) {
	out, err := secretsmanager.NewFromConfig(c.cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(keyPairSecret), VersionStage: aws.String("AWSCURRENT")})
	if err != nil {
		return nil, err
	}
	var pair struct{ PrivateKey string }
	if err := json.Unmarshal([]byte(*out.SecretString), &pair); err != nil {
		return nil, err
	}
	return ssh.ParsePrivateKey([]byte(pair.PrivateKey))
}

// current is the controller's key.
func (c *cloud) current(t *testing.T) ssh.Signer {
	t.Helper()
	key, err := c.tryCurrent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rotate runs the shipped operator's command to the end of a rotation.
func (c *cloud) rotate(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(repository, "build/package", runtime.GOARCH, "rotatessh"), "rotate", "--wait", "--timeout", "3m")
	cmd.Env = append(c.aws.Env(), "HOME=/nonexistent", "PATH=/usr/bin:/bin")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("rotatessh rotate: %v\n%s", err, out)
	}
	return string(out)
}

// ack waits for an acknowledgement that is as wanted.
func (c *cloud) ack(t *testing.T, worker string, wanted func(ledger.Ack) bool) ledger.Ack {
	t.Helper()
	var last ledger.Ack
	until(t, "an acknowledgement", 90*time.Second, func() (string, bool) {
		acks, err := c.ledger.Acks(t.Context(), c.secret, []string{worker}, time.Now())
		last = acks[worker]
		return fmt.Sprintf("%+v %v", last, err), err == nil && last.Outcome != "" && wanted(last)
	})
	return last
}

// keyset is the published one.
func (c *cloud) keyset(t *testing.T) keyset.Keyset {
	t.Helper()
	out, err := secretsmanager.NewFromConfig(c.cfg).GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String(keysetSecret)})
	if err != nil {
		t.Fatal(err)
	}
	var k keyset.Keyset
	if err := json.Unmarshal([]byte(*out.SecretString), &k); err != nil {
		t.Fatal(err)
	}
	return k
}

// login tries to log in to a machine with a key, and runs a command there.
func login(m *machine, key ssh.Signer) error {
	public, err := os.ReadFile(m.path("etc/ssh/ssh_host_ed25519_key.pub"))
	if err != nil {
		return err
	}
	host, _, _, _, err := ssh.ParseAuthorizedKey(public)
	if err != nil {
		return err
	}
	client, err := ssh.Dial("tcp", m.address()+":22", &ssh.ClientConfig{User: account, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: ssh.FixedHostKey(host), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	return session.Run("true")
}
