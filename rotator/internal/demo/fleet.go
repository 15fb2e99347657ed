package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"golang.org/x/sync/errgroup"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/common/logging"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// Fleet is a running fleet with its AWS endpoint and its rotator. Its methods are safe for concurrent use,
// except that one rotation runs at a time.
type Fleet struct {
	options   Options
	user      string
	progress  func(Progress)
	began     time.Time
	folder    *folder
	guardian  *guardian
	spawn     *spawner
	server    *localaws.Server
	aws       clients
	resources resources
	ledger    *ledger.Client
	sshd      sshServer
	watch     *watch

	alive  context.Context // ends when the fleet closes, or when a part of it fails for good
	fail   context.CancelCauseFunc
	parts  sync.WaitGroup
	closes []func() error // in the order of making
	ended  sync.Once

	mu        sync.Mutex
	workers   []*Worker // replaced, never changed in place
	rotations int
	pairs     []keypair.Pair // every one that was current, oldest first
}

// errClosed is the cause of the end of a fleet that was closed.
var errClosed = errors.New("the fleet is closed")

// Start starts a fleet, all of it: every sshd answers and every agent has subscribed when it returns. No
// rotation has run, so that nobody can log in yet. The caller must Close it. An error leaves nothing
// behind. Progress, which may be nil, is told how far it is; it must not block.
func Start(ctx context.Context, o Options, progress func(Progress)) (*Fleet, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	f := &Fleet{options: o, progress: progress, began: time.Now()}
	f.alive, f.fail = context.WithCancelCause(context.Background())
	ctx, cancel := f.bound(ctx)
	defer cancel()
	if err := f.start(ctx); err != nil {
		// What failed for good says more than the wait that it ended.
		if cause := context.Cause(f.alive); cause != nil {
			err = cause
		}
		return nil, errors.Join(f.withLogs(err), f.Close())
	}
	return f, nil
}

// bound gives a context that ends with ctx, with the fleet, or when patience does.
func (f *Fleet) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	patient, cancelTime := context.WithTimeoutCause(ctx, f.options.Patience, fmt.Errorf("waited for %s in vain", f.options.Patience))
	both, cancel := context.WithCancelCause(patient)
	stop := context.AfterFunc(f.alive, func() { cancel(context.Cause(f.alive)) })
	return both, func() { stop(); cancel(nil); cancelTime() }
}

func (f *Fleet) start(ctx context.Context) error {
	var err error
	if f.user, err = loginAccount(); err != nil {
		return err
	}
	if f.sshd, err = findSSHD(ctx, f.options.SSHD); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{f.startFolder, f.startServer, f.startWorkers, f.awaitSubscribed} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) onClose(do func() error) { f.closes = append(f.closes, do) }

func (f *Fleet) startFolder(context.Context) (err error) {
	if f.folder, err = newFolder(f.options.StateDir); err != nil {
		return err
	}
	f.onClose(func() error { return errors.Join(os.RemoveAll(f.folder.path), f.folder.lock.Close()) })
	if f.guardian, err = startGuardian(f.options.Binaries.Rotatessh, f.folder); err != nil {
		return err
	}
	f.onClose(f.guardian.dismiss)
	f.spawn = newSpawner()
	f.onClose(func() error { f.spawn.close(); return nil })
	return nil
}

func (f *Fleet) startServer(ctx context.Context) error {
	out := f.options.ServerLog
	if out == nil {
		out = io.Discard
	}
	log, err := logging.New(out, "debug")
	if err != nil {
		return err
	}
	rotatorLog, err := os.OpenFile(f.rotatorLog(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	f.onClose(rotatorLog.Close)
	if f.server, err = localaws.Start(localaws.Options{Log: log, RetryRotationAfter: f.options.retryRotation}); err != nil {
		return fmt.Errorf("starting the AWS endpoint: %w", err)
	}
	f.onClose(f.server.Close)
	f.aws = newClients(f.Access())
	f.ledger = ledger.New(f.aws.dynamo, tableName)
	functionARN, err := f.createFunction(rotatorLog)
	if err != nil {
		return err
	}
	if f.resources, err = f.aws.provision(ctx, functionARN); err != nil {
		return err
	}
	f.watch = newWatch(f)
	return nil
}

func (f *Fleet) rotatorLog() string { return filepath.Join(f.folder.path, "bootstrap.log") }

// Access is how the operator's programs reach the fleet's AWS endpoint.
func (f *Fleet) Access() Access {
	return accessFrom(f.server.URL(), f.server.Env())
}

func (f *Fleet) startWorkers(ctx context.Context) error {
	workers := make([]*Worker, f.options.Workers)
	defer func() { f.setWorkers(slices.DeleteFunc(workers, func(w *Worker) bool { return w == nil })) }()
	started := counter(f, "starting workers", len(workers), "up")
	first, err := newWorker(f.folder.path, f.user, 1)
	if err != nil {
		return err
	}
	if err := f.sshd.prepare(ctx, first); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i := range workers {
		g.Go(func() error {
			w := first
			if i > 0 {
				var err error
				if w, err = newWorker(f.folder.path, f.user, i+1); err != nil {
					return err
				}
			}
			workers[i] = w
			w.agentless = i >= len(workers)-f.options.agentless
			defer started()
			if err := w.enroll(f.server); err != nil {
				return err
			}
			return f.startWorker(ctx, w)
		})
	}
	err = g.Wait()
	if banner, berr := greeting(ctx, first.Port); err == nil && berr == nil {
		f.sshd.version = banner
	}
	return err
}

// startWorker starts sshd first: the agent's configuration names its port.
func (f *Fleet) startWorker(ctx context.Context, w *Worker) error {
	if err := f.startSSHD(ctx, w); err != nil {
		return err
	}
	w.sshdKeeper = f.keep(func(ctx context.Context) { f.keepSSHD(ctx, w) })
	if err := f.manage(w); err != nil {
		return err
	}
	if err := os.WriteFile(w.file("agent.yaml"), w.agentConfig(f.options.LogLevel), 0o600); err != nil {
		return err
	}
	if !w.agentless {
		f.startAgent(w)
	}
	return nil
}

// awaitSubscribed waits until every agent's queue is subscribed: a publication before that would reach it
// by the beacon only, a minute later.
func (f *Fleet) awaitSubscribed(ctx context.Context) error {
	agents := f.size() - f.options.agentless
	for {
		queues, err := f.subscribed(ctx)
		f.count("waiting for the agents", len(queues), agents, "subscribed")
		if err == nil && len(queues) >= agents {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s to subscribe, so far %d: %w", plural.Of(agents, "agent"), len(queues), context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// subscribed are the ARNs of the queues that are subscribed to the topic.
func (f *Fleet) subscribed(ctx context.Context) ([]string, error) {
	var queues []string
	pages := sns.NewListSubscriptionsByTopicPaginator(f.aws.sns, &sns.ListSubscriptionsByTopicInput{TopicArn: aws.String(f.resources.topicARN)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range page.Subscriptions {
			queues = append(queues, aws.ToString(s.Endpoint))
		}
	}
	return queues, nil
}

// Workers are the fleet's workers; the slice is the caller's.
func (f *Fleet) Workers() []*Worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.workers)
}

func (f *Fleet) size() int { return len(f.Workers()) }

func (f *Fleet) setWorkers(workers []*Worker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.workers = workers
}

// Server is the fleet's AWS endpoint, for whoever wants to do something to it.
func (f *Fleet) Server() *localaws.Server { return f.server }

// Folder is where the fleet's files are. It is gone after Close.
func (f *Fleet) Folder() string { return f.folder.path }

// Close ends every process of the fleet and removes its folder. It may be called more than once.
func (f *Fleet) Close() error {
	var err error
	f.ended.Do(func() {
		f.fail(errClosed)
		f.parts.Wait()
		for _, v := range slices.Backward(f.closes) {
			err = errors.Join(err, v())
		}
	})
	return err
}
