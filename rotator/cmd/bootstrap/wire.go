package main

import (
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/awsconf"
	"github.com/rotatessh/rotatessh/common/awstime"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/push"
	"github.com/rotatessh/rotatessh/rotator/internal/queues"
	"github.com/rotatessh/rotatessh/rotator/internal/rotation"
	"github.com/rotatessh/rotatessh/rotator/internal/settings"
)

var (
	_ rotation.Keysets = (*keystore.Store)(nil)
	_ rotation.Ledger  = (*ledger.Client)(nil)
	_ rotation.Fleet   = (*fleet.Fleet)(nil)
	_ rotation.Clock   = (*awstime.Clock)(nil)
	_ rotation.Secrets = (*secretsmanager.Client)(nil)
	_ rotation.Bus     = (*eventbridge.Client)(nil)
	_ rotation.Queues  = (*queues.Remover)(nil)
	_ rotation.Pusher  = (*push.Pusher)(nil)
)

// newRotator builds every client once: an execution environment serves many invocations.
func newRotator(ctx context.Context, s settings.Settings, log *zap.Logger) (*rotation.Rotator, error) {
	var clock awstime.Clock
	cfg, err := awsconf.Load(ctx, awsconf.Options{Clock: &clock})
	if err != nil {
		return nil, err
	}
	secrets := secretsmanager.NewFromConfig(cfg)
	everybody, err := workers(cfg, s, secrets)
	if err != nil {
		return nil, err
	}
	parts := rotation.Parts{
		Secrets: secrets,
		Keysets: keystore.NewStore(secrets, s.KeysetSecret),
		Ledger:  ledger.New(dynamodb.NewFromConfig(cfg), s.LedgerTable),
		Fleet:   everybody,
		Prober:  newProber(s),
		Bus:     eventbridge.NewFromConfig(cfg),
		Queues: &queues.Remover{
			SQS: sqs.NewFromConfig(cfg), SNS: sns.NewFromConfig(cfg), EC2: ec2.NewFromConfig(cfg), Prefix: s.QueuePrefix, Topic: s.Topic,
		},
		Clock:   &clock,
		Policy:  policy(s),
		Metrics: os.Stdout,
		Log:     log,
	}
	if s.Silent == "push" {
		parts.Pusher = push.NewPusher(ssm.NewFromConfig(cfg))
	}
	return rotation.New(parts), nil
}

func policy(s settings.Settings) rotation.Policy {
	count, percent, _ := s.Sample() // the settings are valid
	return rotation.Policy{
		User: s.User, KeyType: keypair.Type(s.KeyType), RetireAfter: s.RetireAfter, BootGrace: s.BootGrace,
		ProbeSample: count, ProbePercent: percent, ProbeConcurrency: s.ProbeConcurrency,
		Threshold: s.Threshold, MinWorkers: s.MinWorkers, MaxShrink: s.MaxShrink, IgnoreSilent: s.Silent == "ignore",
		AllowUnverified: s.AllowUnverified, GateMargin: s.GateMargin, PushAfter: s.PushAfter, EventBus: s.EventBus,
	}
}
