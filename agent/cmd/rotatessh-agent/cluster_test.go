package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
)

const (
	secretARN    = "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh-AbCdEf"
	keysetSecret = "/dev/ssh/public"
	ledgerTable  = "rotatessh-ledger"
)

// cluster is the rotator's side: an AWS endpoint with the keyset secret and the ledger.
type cluster struct {
	aws    *localaws.Server
	cfg    aws.Config
	store  *keystore.Store
	ledger *ledger.Client
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	server, err := localaws.Start(localaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	cfg := aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(server.URL()),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIAOPERATOR", "secret", ""),
	}
	c := &cluster{aws: server, cfg: cfg, ledger: ledger.New(dynamodb.NewFromConfig(cfg), ledgerTable)}
	secrets := secretsmanager.NewFromConfig(cfg)
	c.store = keystore.NewStore(secrets, keysetSecret)
	ctx := context.Background()
	_, err = secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String(keysetSecret), SecretString: aws.String("{}")})
	if err == nil {
		err = c.createTable(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) createTable(ctx context.Context) error {
	attribute := func(name string) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: types.ScalarAttributeTypeS}
	}
	_, err := dynamodb.NewFromConfig(c.cfg).CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:            aws.String(ledgerTable),
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{attribute("pk"), attribute("sk")},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
	})
	return err
}

// publish makes k the current keyset, with the schema and secret filled in.
func (c *cluster) publish(t testing.TB, k keyset.Keyset) keystore.Document {
	t.Helper()
	doc, err := c.tryPublish(k)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func (c *cluster) tryPublish(k keyset.Keyset) (keystore.Document, error) {
	k.Schema, k.SecretARN = keyset.Schema, secretARN
	ctx := context.Background()
	from, err := c.store.Fetch(ctx)
	if err != nil && !errors.Is(err, keyset.ErrEmpty) && keyset.CodeOf(err) == "" {
		return keystore.Document{}, err
	}
	return c.store.Publish(ctx, from, k)
}

// put makes text the current value of the keyset secret, whatever it is.
func (c *cluster) put(text string) error {
	_, err := secretsmanager.NewFromConfig(c.cfg).PutSecretValue(context.Background(),
		&secretsmanager.PutSecretValueInput{SecretId: aws.String(keysetSecret), SecretString: &text})
	return err
}

// announce publishes the beacon of a document.
func (c *cluster) announce(t testing.TB, doc keystore.Document) {
	t.Helper()
	err := c.ledger.PutBeacon(t.Context(), ledger.Beacon{
		SecretARN: secretARN, Generation: doc.Keyset.Generation, KeysetVersionID: doc.VersionID,
		Phase: doc.Keyset.Phase(time.Now()), FleetSize: 1, PublishedAt: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ack waits until the worker has acknowledged something that is as wanted.
func (c *cluster) ack(t testing.TB, worker string, wanted func(ledger.Ack) bool) ledger.Ack {
	t.Helper()
	var last ledger.Ack
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		acks, err := c.ledger.Acks(t.Context(), secretARN, []string{worker}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if a, ok := acks[worker]; ok {
			last = a
			if wanted(a) {
				return a
			}
		}
	}
	t.Fatalf("the worker's last acknowledgement is not what was wanted: %+v", last)
	return last
}

// key is one key of a keyset, under a version id made from its place.
func key(state keyset.State, p sshdtest.Pair, version int) keyset.Key {
	return keyset.Key{State: state, VersionID: fmt.Sprintf("00000000-0000-0000-0000-%012d", version), PublicKey: p.Public}
}
