package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/agent/internal/config"
	"github.com/rotatessh/rotatessh/agent/internal/identity"
	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/agent/internal/userfile"
	"github.com/rotatessh/rotatessh/common/awsconf"
	"github.com/rotatessh/rotatessh/common/awstime"
	"github.com/rotatessh/rotatessh/common/buildinfo"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
)

// maxAnswer bounds an answer from AWS. The largest that the agent asks for is ten SQS messages of 64 KiB.
const maxAnswer = 1 << 20

// world is what the agent knows of its surroundings before the first pass.
type world struct {
	cfg    config.Config
	worker identity.Worker
	aws    aws.Config
	clock  *awstime.Clock
	log    *zap.Logger
}

// survey finds out who and where this machine is.
func survey(ctx context.Context, cfg config.Config, stderr io.Writer) (*world, error) {
	log, err := logging.New(stderr, cfg.LogLevel)
	if err != nil {
		return nil, err
	}
	w := &world{cfg: cfg, clock: &awstime.Clock{}, log: log}
	if cfg.Worker.ARN != "" {
		w.worker, err = identity.FromARN(cfg.Worker.ARN)
	} else {
		w.worker, err = identity.FromMetadata(ctx, identity.Metadata())
	}
	if err != nil {
		return nil, fmt.Errorf("finding out which instance this is: %w", err)
	}
	w.aws, err = awsconf.Load(ctx, awsconf.Options{Region: w.region(), Clock: w.clock, MaxAnswer: maxAnswer})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// region is the configured one, or else the environment's, or else the instance's own.
func (w *world) region() string {
	if w.cfg.Region != "" {
		return w.cfg.Region
	}
	if env := os.Getenv("AWS_REGION"); env != "" {
		return env
	}
	return w.worker.Region
}

func (w *world) ledger() *ledger.Client {
	return ledger.New(dynamodb.NewFromConfig(w.aws), w.cfg.LedgerTable)
}

func (w *world) source() *keystore.Reader {
	return keystore.NewReader(secretsmanager.NewFromConfig(w.aws), w.cfg.KeysetSecret)
}

// syncer puts the agent's main part together. The state folder must be locked.
func (w *world) syncer(client *ledger.Client, r *reporter, c keysync.Config) (*keysync.Syncer, error) {
	memory, err := state.OpenMemory(w.cfg.StateDir, w.worker.ARN)
	if err != nil {
		return nil, err
	}
	c.Worker = w.worker.ARN
	c.Users = w.cfg.Users
	c.Protect = w.cfg.Protect
	c.Port = w.cfg.SSHD.ListenPort()
	c.AgentVersion = buildinfo.Version()
	return keysync.New(c, keysync.Parts{
		Source:   w.source(),
		Recorder: client,
		Accounts: accounts{},
		Files:    files{&userfile.Writer{}, r.applied},
		Verifier: newVerifier(w.cfg.SSHD),
		Memory:   memory,
		Resets:   memory,
		Clock:    w.clock,
		Reporter: r,
	}, w.log.Named("keysync")), nil
}
