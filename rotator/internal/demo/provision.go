package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/rotatessh/rotatessh/common/localaws"
)

// What the fleet's resources are called: the names that everything has by default.
const (
	secretName   = "/dev/ssh" //nolint:gosec // a name, not a secret
	keysetName   = "/dev/ssh/public"
	tableName    = "rotatessh-ledger"
	topicName    = "rotatessh-keyset-published"
	functionName = "RotateSSH"
	tagName      = "RotateSSHKeys"
	tagValue     = "True"
)

// functionTimeout leaves the rotator 45 s to wait for a fleet that needs one.
const functionTimeout = time.Minute

// clients are the operator's.
type clients struct {
	secrets *secretsmanager.Client
	dynamo  *dynamodb.Client
	sns     *sns.Client
	sqs     *sqs.Client
	events  *eventbridge.Client
	ec2     *ec2.Client
}

// Access is how anybody reaches the fleet's AWS endpoint as its operator.
type Access struct {
	EndpointURL     string
	Region          string
	AccessKeyID     string
	SecretAccessKey string
}

// newClients takes nothing from the environment or the user's AWS profile.
func newClients(a Access) clients {
	cfg := aws.Config{
		Region:       a.Region,
		BaseEndpoint: &a.EndpointURL,
		Credentials:  credentials.NewStaticCredentialsProvider(a.AccessKeyID, a.SecretAccessKey, ""),
	}
	return clients{
		secrets: secretsmanager.NewFromConfig(cfg),
		dynamo:  dynamodb.NewFromConfig(cfg),
		sns:     sns.NewFromConfig(cfg),
		sqs:     sqs.NewFromConfig(cfg),
		events:  eventbridge.NewFromConfig(cfg),
		ec2:     ec2.NewFromConfig(cfg),
	}
}

// resources are what provisioning made.
type resources struct {
	secretARN   string
	keysetARN   string
	topicARN    string
	functionARN string
}

// provision makes what a stack would: two empty secrets, the ledger, the topic, the function and the rules
// between them. Rotation is not enabled yet.
func (c clients) provision(ctx context.Context, functionARN string) (resources, error) {
	r := resources{functionARN: functionARN}
	for _, step := range []struct {
		what string
		do   func(context.Context, *resources) error
	}{
		{"creating the key-pair secret", func(ctx context.Context, r *resources) (err error) {
			r.secretARN, err = c.emptySecret(ctx, secretName)
			return err
		}},
		{"creating the keyset secret", func(ctx context.Context, r *resources) (err error) {
			r.keysetARN, err = c.emptySecret(ctx, keysetName)
			return err
		}},
		{"creating the ledger", c.createTable},
		{"creating the topic", c.createTopic},
		{"creating the rule for publications", c.announceRule},
		{"creating the rule for the secret's label", c.labelRule},
		{"creating the schedule", c.scheduleRule},
		{"creating the rule for requests", c.requestRule},
		{"creating the rule for instances", c.instanceRule},
	} {
		if err := step.do(ctx, &r); err != nil {
			return resources{}, fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return r, nil
}

func (c clients) emptySecret(ctx context.Context, name string) (arn string, err error) {
	out, err := c.secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("{}")})
	if err != nil {
		return "", err
	}
	return *out.ARN, nil
}

func (c clients) createTable(ctx context.Context, _ *resources) error {
	key := func(name string, kind dynamotypes.KeyType) (dynamotypes.AttributeDefinition, dynamotypes.KeySchemaElement) {
		return dynamotypes.AttributeDefinition{AttributeName: &name, AttributeType: dynamotypes.ScalarAttributeTypeS},
			dynamotypes.KeySchemaElement{AttributeName: &name, KeyType: kind}
	}
	pk, pkSchema := key("pk", dynamotypes.KeyTypeHash)
	sk, skSchema := key("sk", dynamotypes.KeyTypeRange)
	_, err := c.dynamo.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:            aws.String(tableName),
		AttributeDefinitions: []dynamotypes.AttributeDefinition{pk, sk},
		KeySchema:            []dynamotypes.KeySchemaElement{pkSchema, skSchema},
		BillingMode:          dynamotypes.BillingModePayPerRequest,
	})
	if err != nil {
		return err
	}
	wait := dynamodb.NewTableExistsWaiter(c.dynamo, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, time.Second
	})
	if err := wait.Wait(ctx, &dynamodb.DescribeTableInput{TableName: aws.String(tableName)}, time.Minute); err != nil {
		return err
	}
	_, err = c.dynamo.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName:               aws.String(tableName),
		TimeToLiveSpecification: &dynamotypes.TimeToLiveSpecification{AttributeName: aws.String("expiresAt"), Enabled: aws.Bool(true)},
	})
	return err
}

func (c clients) createTopic(ctx context.Context, r *resources) error {
	out, err := c.sns.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String(topicName)})
	if err != nil {
		return err
	}
	r.topicARN = *out.TopicArn
	policy, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []map[string]any{{
			"Effect":    "Allow",
			"Principal": map[string]string{"Service": "events.amazonaws.com"},
			"Action":    "sns:Publish",
			"Resource":  r.topicARN,
		}},
	})
	if err != nil {
		return err
	}
	_, err = c.sns.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{
		TopicArn: &r.topicARN, AttributeName: aws.String("Policy"), AttributeValue: aws.String(string(policy)),
	})
	return err
}

func (c clients) announceRule(ctx context.Context, r *resources) error {
	return c.rule(ctx, "rotatessh-keyset-published", r.topicARN, &eventbridge.PutRuleInput{
		EventPattern: aws.String(`{"source":["rotatessh"],"detail-type":["SSH Keyset Published"]}`),
	})
}

func (c clients) labelRule(ctx context.Context, r *resources) error {
	pattern, err := json.Marshal(map[string]any{
		"source":      []string{"aws.secretsmanager"},
		"detail-type": []string{"Secret Label Updated"},
		"detail":      map[string]any{"name": []string{secretName}, "labelUpdated": []string{"AWSCURRENT"}},
	})
	if err != nil {
		return err
	}
	return c.rule(ctx, "rotatessh-label", r.functionARN, &eventbridge.PutRuleInput{EventPattern: aws.String(string(pattern))})
}

func (c clients) scheduleRule(ctx context.Context, r *resources) error {
	return c.rule(ctx, "rotatessh-reconcile", r.functionARN, &eventbridge.PutRuleInput{ScheduleExpression: aws.String("rate(5 minutes)")})
}

func (c clients) requestRule(ctx context.Context, r *resources) error {
	return c.rule(ctx, "rotatessh-requested", r.functionARN, &eventbridge.PutRuleInput{
		EventPattern: aws.String(`{"source":["rotatessh"],"detail-type":["SSH Key Rotation Requested"]}`),
	})
}

func (c clients) instanceRule(ctx context.Context, r *resources) error {
	return c.rule(ctx, "rotatessh-instances", r.functionARN, &eventbridge.PutRuleInput{
		EventPattern: aws.String(`{"source":["aws.ec2"],"detail-type":["EC2 Instance State-change Notification"],"detail":{"state":["terminated"]}}`),
	})
}

func (c clients) rule(ctx context.Context, name, targetARN string, rule *eventbridge.PutRuleInput) error {
	rule.Name = &name
	if _, err := c.events.PutRule(ctx, rule); err != nil {
		return err
	}
	out, err := c.events.PutTargets(ctx, &eventbridge.PutTargetsInput{
		Rule:    &name,
		Targets: []eventtypes.Target{{Id: aws.String("1"), Arn: &targetARN}},
	})
	if err == nil && out.FailedEntryCount > 0 {
		return fmt.Errorf("target %s: %s", targetARN, aws.ToString(out.FailedEntries[0].ErrorMessage))
	}
	return err
}

// createFunction registers the compiled rotator.
func (f *Fleet) createFunction(stderr io.Writer) (arn string, err error) {
	env := []string{
		"ROTATESSH_USER=" + f.user,
		"ROTATESSH_RETIRE_AFTER=" + f.options.RetireAfter.String(),
		"ROTATESSH_LOG_LEVEL=" + f.options.LogLevel,
	}
	env = append(env, f.options.functionEnv...)
	if f.options.KeyType != "" {
		env = append(env, "ROTATESSH_KEY_TYPE="+f.options.KeyType)
	}
	arn, err = f.server.CreateFunction(localaws.FunctionSpec{
		Name: functionName, Command: []string{f.options.Binaries.Bootstrap}, Env: env, Timeout: cmp.Or(f.options.functionTimeout, functionTimeout), Stderr: stderr,
	})
	if err != nil {
		return "", fmt.Errorf("creating the rotator's function: %w", err)
	}
	return arn, nil
}
