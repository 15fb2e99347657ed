package rotation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/awsconf"
	"github.com/rotatessh/rotatessh/common/awstime"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/queues"
	"github.com/rotatessh/rotatessh/rotator/internal/rotation"
)

const (
	controllerUser = "ec2-user"
	keysetName     = "/dev/ssh/public"
	table          = "rotatessh-ledger"
)

// rig is a whole deployment in one process: an AWS endpoint, a rotator, a fleet, and somebody who watches
// after every call that nobody is locked out.
type rig struct {
	t   *testing.T
	aws *localaws.Server
	arn string // of the key-pair secret

	rotationToken string // of the last rotation that was started

	secrets *secretsmanager.Client
	ledger  *ledger.Client
	db      *dynamodb.Client
	sqs     *sqs.Client
	sns     *sns.Client
	keysets *keystore.Reader
	rotator *rotation.Rotator
	policy  rotation.Policy
	parts   rotation.Parts
	log     *zap.Logger
	initial string // value of the key-pair secret
	// emptyTestVersion is what Secrets Manager makes the temporary version of a test.
	emptyTestVersion bool
	wrap             func(*secretsmanager.DescribeSecretOutput) // alters what the rotator is told about the secret

	probes   atomic.Int64
	probeErr func(fleet.Worker) error

	// busy is set while the rig itself makes calls, which are not the rotator's.
	busy    atomic.Bool
	mu      sync.Mutex
	workers []*worker
	watch   *observer
	onCall  []func(localaws.Call) // after each call of the rotator's that took effect
}

func newRig(t *testing.T, workers int, change ...func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, initial: "{}", policy: rotation.Policy{
		User: controllerUser, RetireAfter: time.Hour, BootGrace: 10 * time.Minute, Threshold: 100, MinWorkers: 1, MaxShrink: 20, ProbeSample: 2, ProbeConcurrency: 2,
		GateMargin: time.Second, EventBus: "default",
	}}
	r.log = zap.NewNop()
	for _, c := range change {
		c(r)
	}
	server, err := localaws.Start(localaws.Options{RetryRotationAfter: time.Hour, KeepVersions: time.Second, EmptyTestVersion: r.emptyTestVersion})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Log(err)
		}
	})
	r.aws = server
	r.connect()
	r.provision(r.initial)
	for range workers {
		r.addWorker()
	}
	r.watch = newObserver(r)
	r.aws.OnCall(localaws.Fault{After: func(c localaws.Call) error {
		if c.Service == "lambda" {
			return nil // Secrets Manager's own attempt, which fails
		}
		if r.busy.CompareAndSwap(false, true) {
			defer r.busy.Store(false)
			if c.Action == "UpdateSecretVersionStage" || c.Action == "PutSecretValue" {
				r.watch.changed()
			}
			r.watch.look("after " + c.Service + ":" + c.Action)
			for _, f := range r.onCall {
				f(c)
			}
			r.watch.look("after workers followed " + c.Service + ":" + c.Action)
		}
		return nil
	}})
	return r
}

// connect builds the rotator as the Lambda does, except that no SDK client repeats a call: each fault that a
// test injects reaches the code.
func (r *rig) connect() {
	var clock awstime.Clock
	cfg, err := awsconf.Load(r.t.Context(), awsconf.Options{Region: "us-east-1", Clock: &clock})
	if err != nil {
		r.t.Fatal(err)
	}
	cfg.BaseEndpoint = aws.String(r.aws.URL())
	cfg.Credentials = credentials.NewStaticCredentialsProvider("AKIAOPERATOR", "secret", "")
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	r.secrets = secretsmanager.NewFromConfig(cfg)
	r.db = dynamodb.NewFromConfig(cfg)
	r.sqs = sqs.NewFromConfig(cfg)
	r.sns = sns.NewFromConfig(cfg)
	r.ledger = ledger.New(r.db, table)
	store := keystore.NewStore(r.secrets, keysetName)
	r.keysets = store.Reader
	r.parts = rotation.Parts{
		Secrets: describing{r.secrets, r.wrap}, Keysets: store, Ledger: r.ledger, Fleet: fleet.NewInventory(ec2.NewFromConfig(cfg), fleet.Tags{{{Name: "RotateSSHKeys", Value: "True"}}}),
		Prober: r, Bus: eventbridge.NewFromConfig(cfg), Clock: &clock, Policy: r.policy, Log: r.log,
		Queues: &queues.Remover{SQS: r.sqs, SNS: r.sns, EC2: ec2.NewFromConfig(cfg), Prefix: "rotatessh-", Topic: "rotatessh-keyset-published"},
	}
	r.rotator = rotation.New(r.parts)
	r.rotator.TestOnlyLeaseTime(2 * time.Second)
	r.rotator.TestOnlyHeadStart(500 * time.Millisecond)
	r.rotator.TestOnlyLag(20 * time.Millisecond) // the endpoint does not lag by itself
	_, err = r.db.CreateTable(r.t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String(table), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// describing is Secrets Manager with answers that the endpoint cannot give.
type describing struct {
	*secretsmanager.Client
	alter func(*secretsmanager.DescribeSecretOutput)
}

func (d describing) DescribeSecret(ctx context.Context, in *secretsmanager.DescribeSecretInput, o ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error) {
	out, err := d.Client.DescribeSecret(ctx, in, o...)
	if err == nil && d.alter != nil {
		d.alter(out)
	}
	return out, err
}

func replica() []smtypes.ReplicationStatusType {
	return []smtypes.ReplicationStatusType{{Region: aws.String("eu-west-1")}}
}

func (r *rig) provision(value string) {
	r.t.Helper()
	ctx := r.t.Context()
	out, err := r.secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("/dev/ssh"), SecretString: &value})
	if err != nil {
		r.t.Fatal(err)
	}
	r.arn = aws.ToString(out.ARN)
	if _, err := r.secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String(keysetName), SecretString: aws.String("{}")}); err != nil {
		r.t.Fatal(err)
	}
	// Secrets Manager's own attempts fail, since this is no function; the test calls the steps itself.
	if _, err := r.aws.CreateFunction(localaws.FunctionSpec{Name: "RotateSSH", Command: []string{"/bin/false"}}); err != nil {
		r.t.Fatal(err)
	}
}

// startPublished starts a rotation up to where its pending key is published, and gives its token.
func (r *rig) startPublished() string {
	r.t.Helper()
	token := r.startRotation()
	r.mustStep("createSecret", token)
	r.mustStep("setSecret", token)
	return token
}

// startRotation makes Secrets Manager begin a rotation and gives its token.
func (r *rig) startRotation() string {
	r.t.Helper()
	before := len(r.aws.Snapshot().RotationTokens)
	out, err := r.secrets.RotateSecret(r.t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: &r.arn, RotationLambdaARN: aws.String("arn:aws:lambda:us-east-1:111122223333:function:RotateSSH"),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.watch.changed()
	tokens := r.aws.Snapshot().RotationTokens
	for ; len(tokens) == before; tokens = r.aws.Snapshot().RotationTokens {
		time.Sleep(time.Millisecond) // until Secrets Manager has issued one for its own attempt
	}
	r.rotationToken = tokens[len(tokens)-1]
	return aws.ToString(out.VersionId)
}

func steps() []string { return []string{"createSecret", "setSecret", "testSecret", "finishSecret"} }

// stepEvent is what Secrets Manager would send.
func (r *rig) stepEvent(step, token string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"Step":%q,"SecretId":%q,"ClientRequestToken":%q,"RotationToken":%q}`, step, r.arn, token, r.rotationToken))
}

// step calls one step.
func (r *rig) step(ctx context.Context, step, token string) error {
	_, err := r.rotator.Handle(ctx, r.stepEvent(step, token))
	return err
}

func (r *rig) mustStep(step, token string) {
	r.t.Helper()
	if err := r.step(r.t.Context(), step, token); err != nil {
		r.t.Fatalf("%s: %v", step, err)
	}
}

// rotate does one rotation without disturbance.
func (r *rig) rotate() string {
	r.t.Helper()
	token := r.startRotation()
	for _, s := range steps() {
		r.mustStep(s, token)
	}
	return token
}

func (r *rig) labelEvent() json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"source":"aws.secretsmanager","detail-type":"Secret Label Updated","resources":[%q],"detail":{"name":"/dev/ssh","labelUpdated":"AWSCURRENT"}}`, r.arn))
}

func scheduleEvent() json.RawMessage {
	return json.RawMessage(`{"source":"aws.events","detail-type":"Scheduled Event","resources":["arn:aws:events:us-east-1:111122223333:rule/x"],"detail":{}}`)
}

func (r *rig) handle(event json.RawMessage) (rotation.Result, error) {
	out, err := r.rotator.Handle(r.t.Context(), event)
	result, _ := out.(rotation.Result)
	return result, err
}

// Probe implements rotation.Prober: the worker must accept the key, and must have said how to recognise it.
func (r *rig) Probe(_ context.Context, w fleet.Worker, a ledger.Ack, key ssh.Signer) error {
	r.probes.Add(1)
	if r.probeErr != nil {
		return r.probeErr(w)
	}
	public, err := keyset.NewPublicKey(key.PublicKey())
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, have := range r.workers {
		if have.arn == w.ARN && a.Port == 22 && have.accepts(public, time.Now()) {
			return nil
		}
	}
	return errors.New("auth: the server refused the key")
}

// Refuses implements rotation.Prober.
func (r *rig) Refuses(_ context.Context, w fleet.Worker, _ ledger.Ack, key keyset.PublicKey) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, have := range r.workers {
		if have.arn == w.ARN {
			return !have.accepts(key, time.Now()), nil
		}
	}
	return false, errors.New("dial: no such worker")
}

// versions are the key-pair secret's, by id.
func (r *rig) versions() map[string]localaws.SecretVersion {
	for _, s := range r.aws.Snapshot().Secrets {
		if s.ARN == r.arn {
			return s.Versions
		}
	}
	return nil
}

// labelled is the version that bears a label, and its pair.
func (r *rig) labelled(label string) (version string, pair keypair.Pair) {
	r.t.Helper()
	r.quietly(func() {
		out, err := r.secrets.DescribeSecret(context.Background(), &secretsmanager.DescribeSecretInput{SecretId: &r.arn})
		if err != nil {
			r.t.Errorf("looking for %s: %v", label, err)
			return
		}
		for id, labels := range out.VersionIdsToStages {
			if slices.Contains(labels, label) {
				version = id
				pair = r.decode(r.value(r.arn, label))
			}
		}
	})
	return version, pair
}

// value is the value of the version that bears a label; "" if there is none.
func (r *rig) value(secret, label string) string {
	out, err := r.secrets.GetSecretValue(context.Background(), &secretsmanager.GetSecretValueInput{SecretId: &secret, VersionStage: &label})
	var none *smtypes.ResourceNotFoundException
	if err != nil && !errors.As(err, &none) {
		r.t.Errorf("reading %s of %s: %v", label, secret, err)
	}
	if err != nil {
		return ""
	}
	return aws.ToString(out.SecretString)
}

func (r *rig) decode(value string) keypair.Pair {
	pair, err := keypair.Decode([]byte(value))
	if err != nil && value != "{}" && value != "" {
		r.t.Errorf("value of the key-pair secret: %v", err)
	}
	return pair
}

// existingSecret is the value of a secret that was in use before.
func existingSecret(t *testing.T) string {
	t.Helper()
	pair, err := keypair.Generate(keypair.ED25519)
	if err != nil {
		t.Fatal(err)
	}
	value, err := pair.Encode("before")
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func (r *rig) document() keystore.Document {
	r.t.Helper()
	doc, err := r.keysets.Fetch(r.t.Context())
	if err != nil && !errors.Is(err, keyset.ErrEmpty) {
		r.t.Fatal(err)
	}
	return doc
}

// reportOf is the newest report of a phase.
func (r *rig) reportOf(phase string) ledger.Report {
	r.t.Helper()
	reports, err := r.ledger.Reports(r.t.Context(), r.arn, 20)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, report := range reports {
		if report.Phase == phase {
			return report
		}
	}
	r.t.Fatalf("there is no report of %s", phase)
	return ledger.Report{}
}

// worker is a machine with an agent and an sshd, as far as they matter here.
type worker struct {
	arn   string
	block []keyset.Key // what stands in the file
	acked bool         // an acknowledgement says that it was applied
	pass  int64
	alter func(*ledger.Ack)
	// agentless workers have the block that was pushed to them.
	agentless bool
}

func (r *rig) addWorker() *worker {
	r.t.Helper()
	i, err := r.aws.RunInstance(localaws.Instance{
		Tags: map[string]string{"RotateSSHKeys": "True"}, NoMetadata: true, LaunchTime: time.Now().Add(-time.Hour),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	w := &worker{arn: i.ARN}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.workers = append(r.workers, w)
	return w
}

func (w *worker) accepts(key keyset.PublicKey, now time.Time) bool {
	return slices.ContainsFunc(w.block, func(k keyset.Key) bool { return k.PublicKey == key && !k.Elapsed(now) })
}

// follow lets every worker do a pass: take the keyset, acknowledge.
func (r *rig) follow() { r.quietly(r.passAll) }

// quietly makes calls of the rig's own, which nobody is to observe or disturb.
func (r *rig) quietly(f func()) {
	for !r.busy.CompareAndSwap(false, true) {
		time.Sleep(time.Millisecond)
	}
	defer r.busy.Store(false)
	f()
}

// published reports whether a call may have put a keyset into force.
func published(c localaws.Call) bool {
	return c.Service == "secretsmanager" && c.Action == "UpdateSecretVersionStage" && bytes.Contains(c.Input, []byte(keysetName))
}

func (r *rig) passAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.workers {
		if !w.agentless {
			r.pass(w)
		}
	}
}

// followPublications makes workers do a pass as soon as a keyset is in force, before the rotator knows.
func (r *rig) followPublications() {
	r.onCall = append(r.onCall, func(c localaws.Call) {
		if published(c) {
			r.passAll()
		}
	})
}

// followersAfter lets only these workers do a pass as soon as a keyset is in force.
func (r *rig) followersAfter(some []*worker) func(localaws.Call) {
	return func(c localaws.Call) {
		if published(c) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, w := range some {
				r.pass(w)
			}
		}
	}
}

// rotateFollowed is rotate with workers that follow from now on.
func (r *rig) rotateFollowed() string {
	r.onCall = nil
	r.followPublications()
	return r.rotate()
}

// refuseProbes makes all log-ins with a pending key fail.
func (r *rig) refuseProbes() {
	r.probeErr = func(fleet.Worker) error { return errors.New("auth: the server refused the key") }
}

func (r *rig) pass(w *worker) {
	doc, err := r.keysets.Fetch(context.Background())
	if errors.Is(err, keyset.ErrEmpty) {
		return
	}
	if err != nil {
		r.t.Errorf("worker reads keyset: %v", err)
		return
	}
	now := time.Now()
	effective := doc.Keyset.Effective(now)
	w.block = effective.Keys
	w.pass++
	a := ledger.Ack{
		Worker: w.arn, SecretARN: r.arn, KeysetARN: doc.ARN, KeysetVersionID: doc.VersionID, Generation: doc.Keyset.Generation,
		Pass: w.pass, Outcome: ledger.Applied, Port: 22, HostKeys: []string{"ssh-ed25519 AAAA"}, SettingsHash: "h",
		ExpiresAt: now.Add(ledger.AckLifetime).Unix(),
	}
	u := ledger.User{Name: controllerUser, File: "/home/ec2-user/.ssh/authorized_keys"}
	for _, k := range effective.Keys {
		u.Fingerprints = append(u.Fingerprints, k.PublicKey.Fingerprint())
		u.Keys = append(u.Keys, ledger.KeyStatus{Fingerprint: k.PublicKey.Fingerprint(), State: string(k.State), Accepted: ledger.Yes})
	}
	for _, k := range effective.Retired {
		if k.PublicKey.IsZero() {
			continue // sshd can be asked about whole keys only
		}
		u.Keys = append(u.Keys, ledger.KeyStatus{Fingerprint: k.Fingerprint, State: "retired", Accepted: ledger.No})
	}
	a.Users = []ledger.User{u}
	if w.alter != nil {
		w.alter(&a)
	}
	if _, err := r.ledger.PutAck(context.Background(), a); err != nil {
		r.t.Errorf("worker acknowledges: %v", err)
		return
	}
	w.acked = a.Outcome == ledger.Applied
}
