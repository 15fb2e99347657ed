package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

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

// cloud is AWS with one instance, the keyset secret and the ledger.
type cloud struct {
	server   *localaws.Server
	instance localaws.Instance
	cfg      aws.Config
	store    *keystore.Store
	ledger   *ledger.Client
}

// newCloud starts it; nothing is published yet. The caller closes its server.
func newCloud(ctx context.Context) (*cloud, error) {
	server, err := localaws.Start(localaws.Options{})
	if err != nil {
		return nil, err
	}
	cfg := aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(server.URL()),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIAOPERATOR", "secret", ""),
	}
	c := &cloud{
		server: server, cfg: cfg,
		store:  keystore.NewStore(secretsmanager.NewFromConfig(cfg), keysetSecret),
		ledger: ledger.New(dynamodb.NewFromConfig(cfg), ledgerTable),
	}
	if err := c.provision(ctx); err != nil {
		server.Close()
		return nil, err
	}
	return c, nil
}

func (c *cloud) provision(ctx context.Context) (err error) {
	if c.instance, err = c.server.RunInstance(localaws.Instance{Tags: map[string]string{"RotateSSHKeys": "True"}}); err != nil {
		return err
	}
	_, err = secretsmanager.NewFromConfig(c.cfg).CreateSecret(ctx,
		&secretsmanager.CreateSecretInput{Name: aws.String(keysetSecret), SecretString: aws.String("{}")})
	if err != nil {
		return err
	}
	attribute := func(name string) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: types.ScalarAttributeTypeS}
	}
	_, err = dynamodb.NewFromConfig(c.cfg).CreateTable(ctx, &dynamodb.CreateTableInput{
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

// publish makes the keys the current keyset, and the beacon say so.
func (c *cloud) publish(ctx context.Context, generation int64, keys ...keyset.Key) error {
	from, err := c.store.Fetch(ctx)
	if err != nil && from.VersionID == "" {
		return fmt.Errorf("publishing: %w", err)
	}
	doc, err := c.store.Publish(ctx, from, keyset.Keyset{Schema: keyset.Schema, SecretARN: secretARN, Generation: generation, Keys: keys})
	if err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	now := time.Now()
	return c.ledger.PutBeacon(ctx, ledger.Beacon{SecretARN: secretARN, Generation: generation, KeysetVersionID: doc.VersionID,
		Phase: doc.Keyset.Phase(now), FleetSize: 1, PublishedAt: now})
}

// ack is the worker's acknowledgement; the zero one if there is none.
func (c *cloud) ack(ctx context.Context) (ledger.Ack, error) {
	acks, err := c.ledger.Acks(ctx, secretARN, []string{c.instance.ARN}, time.Now())
	return acks[c.instance.ARN], err
}

// env is what leads a worker's SDK here.
func (c *cloud) env() []string {
	return []string{"AWS_ENDPOINT_URL=" + c.server.URL(), "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + c.instance.MetadataURL}
}
