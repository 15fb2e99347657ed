package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/metrics"
	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/agent/internal/wake"
	"github.com/rotatessh/rotatessh/common/buildinfo"
	"github.com/rotatessh/rotatessh/common/logging"
)

// runAgent works until it is told to stop.
func runAgent(ctx context.Context, opts options) error {
	// For as long as the process lives, since a SIGHUP that nobody waits for would end it: in the middle of a pass if it comes
	// while the agent stops.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	cfg, err := load(opts)
	if err != nil {
		return err
	}
	w, err := survey(ctx, cfg, opts.stderr)
	if err != nil {
		return err
	}
	release, err := state.Lock(cfg.StateDir)
	if err != nil {
		return err
	}
	defer release()

	bell := wake.NewBell()
	report := &reporter{dir: cfg.StateDir, files: wake.NewFiles(bell, w.log.Named("wake")), log: w.log}
	client := w.ledger()
	beacon := &wake.Beacon{Reader: client, Interval: cfg.Beacon.Interval, Bell: bell, Log: w.log.Named("wake")}
	if cfg.Metrics.Address != "" {
		report.meter = metrics.New(metrics.Options{Version: buildinfo.Version(), MaxAge: cfg.FullCheck.StaleAfter(), Announced: beacon.Announced})
	}
	syncer, err := w.syncer(client, report, keysync.Config{BeatEvery: heartbeat(w.log)})
	if err != nil {
		return err
	}
	beacon.Known = syncer.Known
	w.log.Info("agent started", zap.String("version", buildinfo.Version()), logging.Worker(w.worker.ARN), zap.String("region", w.aws.Region))
	go onHangup(ctx, hangup, bell)
	w.work(ctx, syncer, bell, report, beacon)
	w.log.Info("agent stopped")
	return nil
}

// work runs the wake-up sources and what shows the state beside the syncer until ctx ends, and returns when all of them have.
func (w *world) work(ctx context.Context, syncer *keysync.Syncer, bell *wake.Bell, report *reporter, beacon *wake.Beacon) {
	var sources sync.WaitGroup
	defer sources.Wait()
	sources.Go(func() {
		<-ctx.Done()
		w.log.Info("agent stopping")
		report.notify(daemon.SdNotifyStopping)
	})
	sources.Go(func() { wake.Timer(ctx, bell, w.cfg.FullCheck.Interval) })
	sources.Go(func() { report.files.Run(ctx) })
	sources.Go(func() { beacon.Run(ctx) })
	if report.meter != nil {
		sources.Go(func() { report.meter.Serve(ctx, w.cfg.Metrics.Address, w.log.Named("metrics")) })
	}
	if s := w.cfg.Subscription; s.Enabled {
		queue := &wake.Queue{
			SQS: sqs.NewFromConfig(w.aws), SNS: sns.NewFromConfig(w.aws),
			Worker: w.worker, Name: s.QueuePrefix + w.worker.ID, Topic: s.Topic,
			FleetSize: beacon.FleetSize, Bell: bell, Log: w.log.Named("wake"),
		}
		sources.Go(func() { queue.Run(ctx) })
	}
	syncer.Run(ctx, bell)
}

// onHangup rings for a full check at every SIGHUP, until ctx ends.
func onHangup(ctx context.Context, hangup <-chan os.Signal, bell *wake.Bell) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			bell.Ring(keysync.Request{Full: true, Why: "SIGHUP"})
		}
	}
}

// heartbeat is how often systemd's watchdog wants to hear of us: well within its limit, or never.
func heartbeat(log *zap.Logger) (every time.Duration) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("watchdog setting cannot be read", zap.Error(err))
	}
	return limit / 3
}
