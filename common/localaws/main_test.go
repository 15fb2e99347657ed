package localaws_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
)

// roleVariable makes this test binary a Lambda function's bootstrap instead.
const roleVariable = "LOCALAWS_TEST_FUNCTION"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "rotator":
		lambda.Start(rotate)
	case "echo":
		lambda.Start(echo)
	default:
		os.Exit(m.Run())
	}
}

// rotate is a rotation function as AWS's template has it: four steps, state only in labels.
func rotate(ctx context.Context, e events.SecretsManagerSecretRotationEvent) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	c := secretsmanager.NewFromConfig(cfg)
	switch e.Step {
	case "createSecret":
		return createSecret(ctx, c, e)
	case "setSecret", "testSecret":
		_, err := c.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &e.SecretID,
			VersionId: &e.ClientRequestToken, VersionStage: aws.String("AWSPENDING")})
		return err
	case "finishSecret":
		return finishSecret(ctx, c, e)
	}
	return fmt.Errorf("unknown step %q", e.Step)
}

func createSecret(ctx context.Context, c *secretsmanager.Client, e events.SecretsManagerSecretRotationEvent) error {
	_, err := c.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &e.SecretID,
		VersionId: &e.ClientRequestToken, VersionStage: aws.String("AWSPENDING")})
	var missing *types.ResourceNotFoundException
	if err == nil || !errors.As(err, &missing) {
		return err
	}
	_, err = c.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: &e.SecretID,
		ClientRequestToken: &e.ClientRequestToken, RotationToken: &e.RotationToken,
		SecretString: aws.String("made for " + e.ClientRequestToken), VersionStages: []string{"AWSPENDING"}})
	return err
}

func finishSecret(ctx context.Context, c *secretsmanager.Client, e events.SecretsManagerSecretRotationEvent) error {
	d, err := c.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &e.SecretID})
	if err != nil {
		return err
	}
	old := holder(d.VersionIdsToStages, "AWSCURRENT")
	if old != e.ClientRequestToken {
		_, err = c.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{SecretId: &e.SecretID,
			VersionStage: aws.String("AWSCURRENT"), MoveToVersionId: &e.ClientRequestToken, RemoveFromVersionId: &old})
		if err != nil {
			return err
		}
	}
	if holder(d.VersionIdsToStages, "AWSPENDING") == "" {
		return nil
	}
	_, err = c.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{SecretId: &e.SecretID,
		VersionStage: aws.String("AWSPENDING"), RemoveFromVersionId: &e.ClientRequestToken})
	return err
}

func holder(stages map[string][]string, label string) string {
	for id, labels := range stages {
		if slices.Contains(labels, label) {
			return id
		}
	}
	return ""
}

// echo answers with its event, or does what the event asks for.
func echo(ctx context.Context, e map[string]any) (map[string]any, error) {
	switch e["do"] {
	case "fail":
		return nil, errors.New("as asked")
	case "panic":
		panic("as asked")
	case "exit":
		os.Exit(3)
	case "hang":
		<-make(chan struct{})
	}
	deadline, _ := ctx.Deadline()
	return map[string]any{"got": e, "pid": os.Getpid(), "deadline": deadline.UnixMilli(), "name": os.Getenv("AWS_LAMBDA_FUNCTION_NAME")}, nil
}
