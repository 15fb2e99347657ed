package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"golang.org/x/sys/unix"

	"github.com/rotatessh/rotatessh/agent/internal/userfile/faults"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// running is an agent at work, with everything switched on, and AWS behind TLS.
type running struct {
	cloud      *cloud
	front      *front
	machine    *machine
	agent      *exec.Cmd
	ended      chan error
	metrics    string // where they are
	home       string // on a file system of its own
	generation int64
}

// start starts one, with lines added to its configuration, and waits until it has followed the first keyset. The caller closes it.
func start(ctx context.Context, program string, lines ...string) (*running, error) {
	if why := lacks(); why != "" {
		return nil, errors.New("not run: " + why)
	}
	r := &running{ended: make(chan error, 1), home: "/home/" + account}
	if err := r.start(ctx, program, lines); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *running) start(ctx context.Context, program string, lines []string) (err error) {
	if r.cloud, err = newCloud(ctx); err != nil {
		return err
	}
	if _, err := sns.NewFromConfig(r.cloud.cfg).CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("rotatessh-keyset-published")}); err != nil {
		return err
	}
	if r.front, err = newFront(r.cloud.server.URL()); err != nil {
		return err
	}
	if r.metrics, err = freeAddress(); err != nil {
		return err
	}
	lines = append(lines, "subscription: {enabled: true}", "metrics: {address: "+r.metrics+"}")
	if r.machine, err = newMachine(program, r.cloud.env(), lines...); err != nil {
		return err
	}
	if err := r.makeHome(); err != nil {
		return err
	}
	bundle := filepath.Join(r.machine.dir, "ca.pem")
	if err := r.front.writeBundle(bundle); err != nil {
		return err
	}
	r.agent = exec.Command(r.machine.program, "run", "--config", r.machine.config)
	r.agent.Env = append(r.machine.env, "AWS_ENDPOINT_URL="+r.front.URL, "AWS_CA_BUNDLE="+bundle)
	r.agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.agent.Start(); err != nil {
		return err
	}
	go func() { r.ended <- r.agent.Wait() }()
	return r.publish(ctx)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (r *running) makeHome() error {
	if err := os.Mkdir(r.home, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("none", r.home, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	return errors.Join(os.Chown(r.home, faults.UserID, faults.UserID), r.machine.setHome(r.home))
}

// readOnly makes the home unwritable, or writable again.
func (r *running) readOnly(on bool) error {
	var flags uintptr = unix.MS_REMOUNT
	if on {
		flags |= unix.MS_RDONLY
	}
	return unix.Mount("none", r.home, "", flags, "")
}

// publish makes a new key current and waits until the agent says that sshd accepts it.
func (r *running) publish(ctx context.Context) error {
	if err := r.announce(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		a, err := r.cloud.ack(ctx)
		if err == nil && a.Generation == r.generation && a.Outcome == ledger.Applied && reported(a) == faults.Applied {
			return nil
		}
		select {
		case ended := <-r.ended:
			return fmt.Errorf("the agent has ended: %w", ended)
		case <-ctx.Done():
			return fmt.Errorf("waiting for generation %d: %w; acknowledged %+v", r.generation, ctx.Err(), a)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// announce makes a new key current.
func (r *running) announce(ctx context.Context) error {
	r.generation++
	key, err := newKey(keyset.Current, r.generation)
	if err != nil {
		return err
	}
	return r.cloud.publish(ctx, r.generation, key)
}

func (r *running) close() error {
	var errs []error
	if r.agent != nil && r.agent.Process != nil {
		r.agent.Process.Kill()
		<-r.ended
	}
	if r.machine != nil {
		errs = append(errs, r.machine.close())
	}
	if r.front != nil {
		r.front.CloseClientConnections()
		r.front.Close()
	}
	if r.cloud != nil {
		errs = append(errs, r.cloud.server.Close())
	}
	return errors.Join(errs...)
}
