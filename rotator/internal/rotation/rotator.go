// Package rotation is the rotator: the four steps by which Secrets Manager rotates a secret, the reconciling
// that events and a schedule ask for, and rotations that an event or an operator asks for.
//
// Every entry point reads what is there, publishes what ought to be, and then does its own small part. None
// of them keeps state anywhere but in the labels of the key-pair secret, the keyset and the ledger, so each
// may run twice, out of order, or die after any call; whichever runs next completes it.
//
// The promise: at no time does a controller that reads the current private key, or read it less than
// RetireAfter ago, hold a key that a worker which acknowledged does not accept.
package rotation

import (
	"context"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

// Secrets is what the rotator needs of Secrets Manager for the key-pair secret.
type Secrets interface {
	DescribeSecret(context.Context, *secretsmanager.DescribeSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error)
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
	PutSecretValue(context.Context, *secretsmanager.PutSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error)
	UpdateSecretVersionStage(context.Context, *secretsmanager.UpdateSecretVersionStageInput, ...func(*secretsmanager.Options)) (*secretsmanager.UpdateSecretVersionStageOutput, error)
	RotateSecret(context.Context, *secretsmanager.RotateSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.RotateSecretOutput, error)
}

// Keysets reads and publishes the keyset.
type Keysets interface {
	Fetch(context.Context) (keystore.Document, error)
	Publish(ctx context.Context, from keystore.Document, next keyset.Keyset) (keystore.Document, error)
}

// Acks reads acknowledgements.
type Acks interface {
	Acks(ctx context.Context, secretARN string, workers []string, now time.Time) (map[string]ledger.Ack, error)
	EachAck(ctx context.Context, secretARN string, workers []string, now time.Time, f func(ledger.Ack)) error
}

// Ledger is what the rotator reads and writes in the ledger.
type Ledger interface {
	Acks
	EachWorker(ctx context.Context, secretARN string, now time.Time, f func(worker string)) error
	BeaconConsistent(ctx context.Context, secretARN string) (ledger.Beacon, bool, error)
	PutBeacon(context.Context, ledger.Beacon) error
	PutReport(context.Context, ledger.Report) error
	PutWaiver(context.Context, ledger.Waiver) error
	DeleteWaiver(ctx context.Context, secretARN, worker string) error
	Waivers(ctx context.Context, secretARN string, now time.Time) ([]ledger.Waiver, error)
	Reports(ctx context.Context, secretARN string, limit int32) ([]ledger.Report, error)
	AcquireLease(ctx context.Context, l ledger.Lease, now time.Time, ttl time.Duration) error
	ReleaseLease(context.Context, ledger.Lease) error
	ClaimWindow(ctx context.Context, r ledger.RotationRequest, window time.Duration) (ledger.RotationRequest, error)
	ReleaseWindow(context.Context, ledger.RotationRequest) error
	LastRequest(ctx context.Context, secretARN string) (ledger.RotationRequest, bool, error)
	PutRequest(context.Context, ledger.RotationRequest) error
	PutPushed(ctx context.Context, a ledger.Ack, now time.Time) error
	Request(ctx context.Context, secretARN, id string) (ledger.RotationRequest, bool, error)
}

// Fleet says which workers there are.
type Fleet interface {
	Workers(context.Context) ([]fleet.Worker, error)
	// Running gives those of the given instances that are running, listed by Workers or not.
	Running(ctx context.Context, arns []string) ([]fleet.Worker, error)
}

// Prober logs in to a worker with a key that is held in memory and runs a command there, within a time of its own.
// The worker's address is the inventory's; port and host keys are those that it acknowledged. It is safe for
// concurrent use, and bounds by itself how many log-ins are under way at once.
type Prober interface {
	Probe(ctx context.Context, w fleet.Worker, a ledger.Ack, key ssh.Signer) error
	// Refuses asks whether the worker refuses a log-in with a key; an error means that there was no answer.
	Refuses(ctx context.Context, w fleet.Worker, a ledger.Ack, key keyset.PublicKey) (bool, error)
}

// Bus takes events.
type Bus interface {
	PutEvents(context.Context, *eventbridge.PutEventsInput, ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error)
}

// Queues are the workers' own, over which they hear of publications.
type Queues interface {
	// Remove deletes the queue of an instance and its subscription. One that has none is no error; removed tells.
	Remove(ctx context.Context, instanceID string) (removed bool, err error)
	// Sweep does the same for all instances that are gone, and gives their ids.
	Sweep(context.Context) (removed []string, err error)
}

// Clock tells AWS's time, as a lower bound; false before anything is known.
type Clock interface {
	Now() (time.Time, bool)
}

// Policy is what an operator decides; package settings documents each.
type Policy struct {
	User             string
	KeyType          keypair.Type // "" for the current pair's successor type
	RetireAfter      time.Duration
	BootGrace        time.Duration
	Threshold        int // percent
	MinWorkers       int
	MaxShrink        int // percent
	IgnoreSilent     bool
	AllowUnverified  bool
	ProbeSample      int
	ProbePercent     int // in place of ProbeSample, unless 0
	ProbeConcurrency int
	GateMargin       time.Duration
	PushAfter        time.Duration
	EventBus         string
}

// Parts are what a Rotator is made of. All but Pusher and Metrics are required.
type Parts struct {
	Secrets Secrets
	Keysets Keysets
	Ledger  Ledger
	Fleet   Fleet
	Prober  Prober
	Bus     Bus
	Queues  Queues
	Pusher  Pusher // nil: workers without an agent are not served
	Clock   Clock
	Policy  Policy
	Metrics io.Writer // takes a line of the log at a time, of which CloudWatch makes metrics; nil: nothing
	Log     *zap.Logger
}

// Rotator handles the events of a Lambda function. It is safe for concurrent use, also by several
// processes.
type Rotator struct {
	Parts
	leaseTime time.Duration
	patience  time.Duration
	headStart time.Duration
	lag       time.Duration
	listed    *listed
}

// New gives a Rotator.
func New(p Parts) *Rotator {
	p.Log = p.Log.Named("rotation")
	return &Rotator{Parts: p, leaseTime: leaseTime, patience: patience, headStart: headStart, lag: lag, listed: &listed{}}
}
