// Package settings is the rotator's configuration: environment variables, since that is what a Lambda
// function has. Each has a default that suits the names which the templates create.
package settings

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

var (
	roleARN    = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$`)
	topicName  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)
	regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]+$`)
)

// prefix begins the name of every variable that is ours.
const prefix = "ROTATESSH_"

// Settings is all that can be set.
type Settings struct {
	// KeysetSecret is the name or ARN of the secret from which workers read public keys.
	KeysetSecret string `env:"ROTATESSH_KEYSET_SECRET" envDefault:"/dev/ssh/public"`
	// LedgerTable is the DynamoDB table of acknowledgements, beacon, reports and leases.
	LedgerTable string `env:"ROTATESSH_LEDGER_TABLE" envDefault:"rotatessh-ledger"`
	// EventBus is where publications are announced.
	EventBus string `env:"ROTATESSH_EVENT_BUS" envDefault:"default"`
	// QueuePrefix is how the names of the agents' queues begin; the instance id follows.
	QueuePrefix string `env:"ROTATESSH_QUEUE_PREFIX" envDefault:"rotatessh-"`
	// Topic is the name of the SNS topic to which the agents subscribe their queues.
	Topic string `env:"ROTATESSH_TOPIC" envDefault:"rotatessh-keyset-published"`

	// Tags are those of the instances that are workers, as NAME=VALUE. Several with commas in between must all be
	// there, of several values of one name one; alternatives have a semicolon in between. "none" leaves it to
	// AutoScalingGroups and StaticWorkers.
	Tags string `env:"ROTATESSH_TAGS" envDefault:"RotateSSHKeys=True"`
	// AutoScalingGroups are the names of groups whose instances are workers, tagged or not.
	AutoScalingGroups []string `env:"ROTATESSH_AUTO_SCALING_GROUPS"`
	// Regions are where to look for workers; empty means the function's own.
	Regions []string `env:"ROTATESSH_REGIONS"`
	// Roles are the ARNs of roles of further accounts in which to look, in the same regions.
	Roles []string `env:"ROTATESSH_ROLES"`
	// StaticWorkers is the name or ARN of a secret that lists further workers, for machines that EC2 does not show.
	StaticWorkers string `env:"ROTATESSH_STATIC_WORKERS"`
	// User is the account as which the controller logs in to workers; probes do the same.
	User string `env:"ROTATESSH_USER" envDefault:"ec2-user"`

	// KeyType is the type of new key pairs: ed25519, rsa-3072, rsa-4096 or ecdsa-p256. Empty means the
	// type of the pair that is replaced, and ed25519 for the first one.
	KeyType string `env:"ROTATESSH_KEY_TYPE"`
	// RetireAfter is how long workers accept the old key after the switch. It must exceed the time for
	// which controllers cache the private key; AWS's caching clients keep it for 5 minutes.
	RetireAfter time.Duration `env:"ROTATESSH_RETIRE_AFTER" envDefault:"15m"`
	// BootGrace is for how long after its launch a worker that was launched during a rotation, and has
	// not acknowledged anything yet, does not count.
	BootGrace time.Duration `env:"ROTATESSH_BOOT_GRACE" envDefault:"10m"`

	// Threshold is the percentage of the workers that count which must be ready. Below 100 the others are
	// given up at the switch, and named in the reports.
	Threshold int `env:"ROTATESSH_THRESHOLD" envDefault:"100"`
	// MinWorkers is how many ready workers it takes at least, once there is a key that somebody may be using.
	MinWorkers int `env:"ROTATESSH_MIN_WORKERS" envDefault:"1"`
	// MaxShrink is by how many percent fewer workers may count than at the last switch: many that are gone
	// at once are more likely to have lost their tag. 100 switches this off.
	MaxShrink int `env:"ROTATESSH_MAX_SHRINK" envDefault:"20"`
	// Silent is what to do about workers without a valid acknowledgement: block; ignore them, which gives them
	// up; or push to them through Systems Manager's Run Command.
	Silent string `env:"ROTATESSH_SILENT" envDefault:"block"`

	// PushAfter is how long after a publication workers are left to their agents before they are pushed to.
	PushAfter time.Duration `env:"ROTATESSH_PUSH_AFTER" envDefault:"2m"`

	// AllowUnverified takes workers for ready whose sshd tells neither about the new key nor about the current one,
	// on the word that their files hold both. The reports name them.
	AllowUnverified bool `env:"ROTATESSH_ALLOW_UNVERIFIED" envDefault:"false"`

	// ProbeSample is on how many of the ready workers the pending key is tried by logging in: a number, a
	// percentage such as 5%, or all. It grows where that is not one worker for each kind of sshd settings.
	ProbeSample string `env:"ROTATESSH_PROBE_SAMPLE" envDefault:"10"`
	// ProbeConcurrency is how many of these log-ins are under way at once; as many again may wait for the command's end.
	ProbeConcurrency int `env:"ROTATESSH_PROBE_CONCURRENCY" envDefault:"10"`
	// ProbeCommand is what a probe runs; it must exit with status 0.
	ProbeCommand string `env:"ROTATESSH_PROBE_COMMAND" envDefault:"true"`
	// ProbeTimeout bounds one probe, from the connection to the command's end.
	ProbeTimeout time.Duration `env:"ROTATESSH_PROBE_TIMEOUT" envDefault:"10s"`
	// GateMargin is how long before the function's deadline it stops waiting for acknowledgements, so that
	// there is time left to say who is missing. At most a quarter of the time that the function has.
	GateMargin time.Duration `env:"ROTATESSH_GATE_MARGIN" envDefault:"20s"`

	// LogLevel is debug, info, warn or error.
	LogLevel string `env:"ROTATESSH_LOG_LEVEL" envDefault:"info"`
}

// Load reads settings from an environment in the form of os.Environ and validates them. An empty variable
// counts as unset. One that
// begins with ROTATESSH_ and is none of ours is an error: it is a misspelt one of which somebody believes
// that it works. All faults are reported at once.
func Load(environ []string) (Settings, error) {
	vars := env.ToMap(environ)
	s, err := env.ParseAsWithOptions[Settings](env.Options{Environment: vars})
	if err != nil {
		err = fmt.Errorf("reading settings from the environment: %w", err)
		return Settings{}, errors.Join(err, checkNames(vars))
	}
	return s, errors.Join(checkNames(vars), s.Validate())
}

func checkNames(vars map[string]string) error {
	params, err := env.GetFieldParams(&Settings{})
	if err != nil {
		return err
	}
	known := make(map[string]bool)
	for _, p := range params {
		known[p.Key] = true
	}
	var unknown []string
	for name := range vars {
		if strings.HasPrefix(name, prefix) && !known[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return fmt.Errorf("environment variables %s are not settings of the rotator", strings.Join(unknown, ", "))
}

// Sample is what ProbeSample says: a number of workers, or a percentage and no number.
func (s Settings) Sample() (count, percent int, err error) {
	if s.ProbeSample == "all" {
		return 0, 100, nil
	}
	number, isPercent := strings.CutSuffix(s.ProbeSample, "%")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || n < 1 || isPercent && n > 100:
		return 0, 0, fmt.Errorf("%q is neither a number, nor a percentage such as 5%%, nor all", s.ProbeSample)
	case isPercent:
		return 0, n, nil
	}
	return n, 0, nil
}

// Validate reports everything that is wrong with s, joined.
func (s Settings) Validate() error {
	var errs []error
	complain := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for name, value := range map[string]string{
		"KEYSET_SECRET": s.KeysetSecret, "LEDGER_TABLE": s.LedgerTable, "EVENT_BUS": s.EventBus, "USER": s.User, "PROBE_COMMAND": s.ProbeCommand, "QUEUE_PREFIX": s.QueuePrefix,
	} {
		complain(value == "", "%s%s must not be empty", prefix, name)
	}
	complain(!topicName.MatchString(s.Topic), "%sTOPIC: %q is not the name of an SNS topic", prefix, s.Topic)
	tags, err := fleet.ParseTags(s.Tags)
	complain(err != nil, "%sTAGS: %w", prefix, err)
	complain(err == nil && len(tags) == 0 && len(s.AutoScalingGroups) == 0 && s.StaticWorkers == "",
		"%sTAGS is none, and neither AUTO_SCALING_GROUPS nor STATIC_WORKERS say who is a worker", prefix)
	for _, role := range s.Roles {
		complain(!roleARN.MatchString(role), "%sROLES: %q is not the ARN of a role", prefix, role)
	}
	for _, region := range s.Regions {
		complain(!regionName.MatchString(region), "%sREGIONS: %q is not a region", prefix, region)
	}
	if s.KeyType != "" {
		_, err := keypair.ParseType(s.KeyType)
		complain(err != nil, "%sKEY_TYPE: %w", prefix, err)
	}
	complain(s.RetireAfter <= 0, "%sRETIRE_AFTER is %v and must be positive", prefix, s.RetireAfter)
	complain(s.BootGrace < 0, "%sBOOT_GRACE is %v and must not be negative", prefix, s.BootGrace)
	complain(s.Threshold < 1 || s.Threshold > 100, "%sTHRESHOLD is %d and must be from 1 to 100", prefix, s.Threshold)
	complain(s.MinWorkers < 1, "%sMIN_WORKERS is %d and must be at least 1", prefix, s.MinWorkers)
	complain(s.MaxShrink < 0 || s.MaxShrink > 100, "%sMAX_SHRINK is %d and must be from 0 to 100", prefix, s.MaxShrink)
	complain(s.Silent != "block" && s.Silent != "ignore" && s.Silent != "push", "%sSILENT %q is none of block, ignore, push", prefix, s.Silent)
	complain(s.PushAfter < 0, "%sPUSH_AFTER is %v and must not be negative", prefix, s.PushAfter)
	_, _, err = s.Sample()
	complain(err != nil, "%sPROBE_SAMPLE: %w", prefix, err)
	complain(s.ProbeConcurrency < 1, "%sPROBE_CONCURRENCY is %d and must be at least 1", prefix, s.ProbeConcurrency)
	complain(s.ProbeTimeout <= 0, "%sPROBE_TIMEOUT is %v and must be positive", prefix, s.ProbeTimeout)
	complain(s.GateMargin <= 0, "%sGATE_MARGIN is %v and must be positive", prefix, s.GateMargin)
	switch s.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		complain(true, "%sLOG_LEVEL %q is not one of debug, info, warn, error", prefix, s.LogLevel)
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
