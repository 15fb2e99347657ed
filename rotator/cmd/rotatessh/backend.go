package main

import (
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/awstime"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/report"
)

// backend is AWS as the commands see it.
type backend struct {
	secret  string // name or ARN of the key-pair secret
	secrets *secretsmanager.Client
	keysets *keystore.Reader
	ledger  *ledger.Client
	fleet   *inventory
	clock   *awstime.Clock
	log     *zap.Logger
}

// open connects to nothing yet. Its tag is as fleet.ParseTags reads it.
func (g *globals) open(c *cobra.Command, f inventoryFlags) (*backend, error) {
	log, err := g.logger(c.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	tag, named := f.tag, c.Flags().Changed("tag")
	if !named {
		tag = defaultTag
	}
	tags, err := fleet.ParseTags(tag)
	if err != nil {
		return nil, usagef("%v", err)
	}
	clock := &awstime.Clock{}
	cfg, err := g.aws(c.Context(), clock, log)
	if err != nil {
		return nil, err
	}
	secrets := secretsmanager.NewFromConfig(cfg)
	b := &backend{
		secret:  g.secret,
		secrets: secrets,
		keysets: keystore.NewReader(secrets, g.keysetSecret),
		ledger:  ledger.New(dynamodb.NewFromConfig(cfg), g.ledgerTable),
		fleet:   &inventory{tagged: fleet.NewInventory(ec2.NewFromConfig(cfg), tags), where: tag + " in " + cfg.Region, warnings: c.ErrOrStderr()},
		clock:   clock,
		log:     log,
	}
	if !named {
		b.fleet.ask = b.rotatorsWorkers(cfg, f.function)
	}
	return b, nil
}

// now is AWS's time, or this machine's as long as AWS has not told it.
func (b *backend) now() time.Time {
	if now, known := b.clock.Now(); known {
		return now
	}
	return time.Now().UTC()
}

// hintAWS adds what to do about the errors of AWS that an operator meets first.
func hintAWS(err error) error {
	var hinted hintedError
	if err == nil || errors.As(err, &hinted) {
		return err
	}
	var coded interface{ ErrorCode() string }
	if errors.As(err, &coded) {
		switch code := coded.ErrorCode(); {
		case strings.HasPrefix(code, "AccessDenied"), code == "UnauthorizedOperation":
			return withHint(err, "these credentials may not do that: use an operator's role, by AWS_PROFILE for example")
		case code == "ResourceNotFoundException":
			return withHint(err, "check --secret, --keyset-secret, --ledger-table and --region")
		case strings.HasPrefix(code, "Unrecognized"), strings.HasPrefix(code, "InvalidClientTokenId"), code == "AuthFailure", strings.HasPrefix(code, "ExpiredToken"):
			return withHint(err, "AWS does not know these credentials or they have expired: log in again")
		}
	}
	if strings.Contains(err.Error(), "connection refused") {
		return withHint(err, "is AWS_ENDPOINT_URL set to an endpoint that is not running?")
	}
	return err
}

// age says how long ago t was.
func age(now, t time.Time) string { return report.Age(now, t) }

// short gives d in the largest unit that fits.
func short(d time.Duration) string { return report.Short(d) }

// printable replaces control characters: workers write parts of what is shown, and a terminal obeys some.
func printable(s string) string { return report.Printable(s) }
