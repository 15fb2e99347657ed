package localaws

import (
	"time"

	"go.uber.org/zap"
)

// Options configures Start. The zero value is a working endpoint.
type Options struct {
	Region  string // default us-east-1
	Account string // default 111122223333
	Log     *zap.Logger

	// RetryRotationAfter is the wait between a failed rotation and its next attempt, and before the first
	// retry of a Lambda event; default 1s. AWS does not state its own schedule.
	RetryRotationAfter time.Duration

	// KeepVersions is how long a secret version without labels stays before it may make room for a new one;
	// default 24h, as on AWS. A test that rotates more than 50 times in a row wants less.
	KeepVersions time.Duration

	// EmptyTestVersion makes the temporary AWSPENDING version of a RotateImmediately=false test empty. AWS does
	// not document what it holds; by default it is a copy of AWSCURRENT.
	EmptyTestVersion bool

	Worker WorkerPolicy
}

// WorkerPolicy names the resources that credentials of an instance may touch; everything else is denied.
type WorkerPolicy struct {
	KeysetSecret string // may be read; default /dev/ssh/public
	Table        string // own items may be written, keyset# items read; default rotatessh-ledger
	QueuePrefix  string // own queue is this and the instance id; default rotatessh-
	Topic        string // own queue may be subscribed to it; default rotatessh-keyset-published
}

func (o Options) withDefaults() Options {
	setDefault(&o.Region, "us-east-1")
	setDefault(&o.Account, "111122223333")
	setDefault(&o.RetryRotationAfter, time.Second)
	setDefault(&o.KeepVersions, 24*time.Hour)
	setDefault(&o.Worker.KeysetSecret, "/dev/ssh/public")
	setDefault(&o.Worker.Table, "rotatessh-ledger")
	setDefault(&o.Worker.QueuePrefix, "rotatessh-")
	setDefault(&o.Worker.Topic, "rotatessh-keyset-published")
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
