package localaws

import (
	"context"
	"encoding/json"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/localaws/internal/autoscaling"
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb"
	"github.com/rotatessh/rotatessh/common/localaws/internal/ec2"
	"github.com/rotatessh/rotatessh/common/localaws/internal/eventbridge"
	"github.com/rotatessh/rotatessh/common/localaws/internal/lambda"
	"github.com/rotatessh/rotatessh/common/localaws/internal/secretsmanager"
	"github.com/rotatessh/rotatessh/common/localaws/internal/sns"
	"github.com/rotatessh/rotatessh/common/localaws/internal/sqs"
	"github.com/rotatessh/rotatessh/common/localaws/internal/ssm"
	"github.com/rotatessh/rotatessh/common/localaws/internal/sts"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// wire makes the services and ties them together; no service knows another.
func (s *Server) wire() {
	o := s.opts
	s.functions = lambda.New(lambda.Deps{Region: o.Region, Account: o.Account, Log: s.log.Named("lambda"),
		Env: s.functionEnv, Attempt: s.attemptEvent, RetryAfter: o.RetryRotationAfter})
	s.secrets = secretsmanager.New(secretsmanager.Deps{Region: o.Region, Account: o.Account,
		Log: s.log.Named("secretsmanager"), FunctionExists: s.functions.Exists, Invoke: s.invokeStep, Emit: s.emit,
		RetryAfter: o.RetryRotationAfter, KeepVersions: o.KeepVersions, EmptyTestVersion: o.EmptyTestVersion})
	s.dynamodb = dynamodb.New(dynamodb.Deps{})
	s.groups = autoscaling.New(autoscaling.Deps{Region: o.Region, Account: o.Account, Instance: s.groupMember})
	s.ec2 = ec2.New(ec2.Deps{Region: o.Region, Account: o.Account})
	s.commands = ssm.New(ssm.Deps{Account: o.Account, Running: s.isRunning})
	s.sqs = sqs.New(sqs.Deps{Region: o.Region, Account: o.Account, Log: s.log.Named("sqs"), Record: s.messages.add})
	s.sns = sns.New(sns.Deps{Region: o.Region, Account: o.Account, Log: s.log.Named("sns"), Deliver: s.sqs.Deliver})
	s.events = eventbridge.New(eventbridge.Deps{Region: o.Region, Account: o.Account, Log: s.log.Named("eventbridge"),
		Record:  func(event json.RawMessage) { s.seen.add(string(event)) },
		ToQueue: s.sqs.Deliver, ToTopic: s.sns.PublishFrom, ToFunction: s.functions.InvokeAsync})
	s.services = map[string]wire.Handler{
		"secretsmanager": s.secrets,
		"dynamodb":       s.dynamodb,
		"lambda":         s.functions,
		"ec2":            s.ec2,
		"autoscaling":    s.groups,
		"sqs":            s.sqs,
		"sns":            s.sns,
		"events":         s.events,
		"ssm":            s.commands,
		"sts":            sts.New(sts.Deps{Roles: s.roles.has, Assume: s.issueToRole}),
	}
}

func (s *Server) closeServices() {
	s.secrets.Close()
	s.events.Close()
	s.functions.Close()
	s.commands.Close()
}

// invokeStep runs one step of a rotation on behalf of Secrets Manager.
func (s *Server) invokeStep(ctx context.Context, functionARN string, payload []byte) error {
	_, err := s.invoke(ctx, wire.Principal{Service: "secretsmanager"}, functionARN, payload)
	return err
}

// emit puts an event of Secrets Manager's on the default bus.
func (s *Server) emit(e secretsmanager.Event) {
	err := s.events.Put(eventbridge.Event{Source: "aws.secretsmanager", DetailType: e.DetailType, Resources: e.Resources, Detail: e.Detail})
	if err != nil {
		s.log.Error("event lost", zap.Error(err))
	}
}

// expireEvery is how often items whose time to live has passed are deleted. AWS promises days only.
const expireEvery = time.Minute

// expireItems deletes expired DynamoDB items until ctx ends.
func (s *Server) expireItems(ctx context.Context) {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			if n := s.dynamodb.Expire(now); n > 0 {
				s.log.Debug("items expired", zap.Int("items", n))
			}
		case <-ctx.Done():
			return
		}
	}
}
