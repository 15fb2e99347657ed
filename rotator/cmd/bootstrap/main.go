// Command bootstrap is the rotator as an AWS Lambda function for the runtime provided.al2023. It handles the
// four rotation steps of Secrets Manager, its event that a label has moved, EC2's that an instance is terminated,
// a schedule, events that ask for a rotation, and operators' requests.
// Settings come from environment variables; package settings documents them.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/buildinfo"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/harden"
	"github.com/rotatessh/rotatessh/rotator/internal/settings"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "bootstrap: error: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if err := harden.Process(); err != nil {
		return err
	}
	s, err := settings.Load(os.Environ())
	if err != nil {
		return err
	}
	log, err := logging.New(os.Stderr, s.LogLevel)
	if err != nil {
		return err
	}
	rotator, err := newRotator(ctx, s, log)
	if err != nil {
		return err
	}
	log.Info("rotator started", zap.String("version", buildinfo.Version()))
	// Lambda tells the caller about a failure and does not log it itself.
	lambda.StartWithOptions(func(ctx context.Context, event json.RawMessage) (any, error) {
		out, err := rotator.Handle(ctx, event)
		if err != nil {
			log.Error("invocation failed", zap.Error(err))
		}
		return out, err
	}, lambda.WithContext(ctx))
	return nil
}
