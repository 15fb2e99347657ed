package main

import (
	"context"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	smithylog "github.com/aws/smithy-go/logging"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/awsconf"
	"github.com/rotatessh/rotatessh/common/awstime"
	"github.com/rotatessh/rotatessh/common/logging"
)

// globals are the flags of every command that talks to AWS.
type globals struct {
	secret       string
	keysetSecret string
	ledgerTable  string
	region       string
	logLevel     string
}

func (g *globals) register(f *pflag.FlagSet) {
	f.StringVar(&g.secret, "secret", "/dev/ssh", "name or ARN of the key-pair `secret`")
	f.StringVar(&g.keysetSecret, "keyset-secret", "/dev/ssh/public", "name or ARN of the `secret` that holds the public keys")
	f.StringVar(&g.ledgerTable, "ledger-table", "rotatessh-ledger", "DynamoDB `table` of acknowledgements and reports")
	f.StringVar(&g.region, "region", "", "AWS `region` (default: as the environment or the AWS profile says)")
	f.StringVar(&g.logLevel, "log-level", "warn", "lowest `level` to log on standard error: debug, info, warn, error")
}

// logger logs to w from the chosen level on; a level that does not exist is a usage error.
func (g *globals) logger(w io.Writer) (*zap.Logger, error) {
	log, err := logging.New(w, g.logLevel)
	if err != nil {
		return nil, usageError{err}
	}
	return log.Named("rotatessh"), nil
}

// sdkLog takes what the SDK would write to standard error on its own: remarks about connections that could
// not be used again and the like, which matter to nobody who is not looking for them.
type sdkLog struct{ log *zap.Logger }

// Logf implements the SDK's logging.Logger.
func (l sdkLog) Logf(class smithylog.Classification, format string, v ...any) {
	l.log.Debug("remark", zap.String("class", string(class)), zap.String("text", fmt.Sprintf(format, v...)))
}

// aws loads the SDK's configuration; clock, if not nil, then follows AWS's time.
func (g *globals) aws(ctx context.Context, clock *awstime.Clock, log *zap.Logger) (aws.Config, error) {
	cfg, err := awsconf.Load(ctx, awsconf.Options{Region: g.region, Clock: clock})
	cfg.Logger = sdkLog{log.Named("sdk")}
	return cfg, withHint(err, "set AWS_REGION or --region, and credentials by AWS_PROFILE or the instance's role")
}
