// Package lambda runs Lambda functions as processes of their own, under the Lambda Runtime API.
//
// It promises what a function can observe in AWS: one invocation at a time per process, more processes
// for more invocations at once, the deadline of each invocation, death at the timeout, and a new process
// after a death. A process that dies in the middle of an invocation makes that invocation fail.
//
// Caveat: processes are not frozen between invocations, memory is not limited, and a client that asks
// for more than the limit of processes waits, where AWS would answer TooManyRequestsException.
package lambda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	maxProcesses = 16              // of one function
	idleAfter    = 2 * time.Minute // a process that nobody needed for so long ends; one always stays
	initTimeout  = 10 * time.Second
)

var errClosed = errors.New("lambda is closed")

// Spec describes a function.
type Spec struct {
	Name    string
	Command []string // absolute path of the bootstrap, and its arguments
	Env     []string // KEY=value, on top of what Lambda itself sets
	Timeout time.Duration
	Stderr  io.Writer // what the process writes, both streams; nil discards it
}

// Deps is what the service needs from the rest of localaws.
type Deps struct {
	Region, Account string
	Log             *zap.Logger
	// Env returns the environment through which a function reaches AWS: endpoint and credentials.
	Env func(function string) []string
	// Attempt runs one asynchronous invocation, so that localaws can record it; nil means Service.Invoke.
	Attempt func(ctx context.Context, id string, payload []byte) (Result, error)
	// RetryAfter is the wait before an asynchronous invocation that failed is tried again, doubled for
	// the second retry.
	RetryAfter time.Duration
}

// Service holds every function. Its methods may be called by many goroutines at once.
type Service struct {
	deps  Deps
	spawn *spawner
	ctx   context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu        sync.Mutex
	functions map[string]*function
}

// New returns a service without functions. Close must be called to end their processes.
func New(d Deps) *Service {
	ctx, stop := context.WithCancel(context.Background())
	s := &Service{deps: d, spawn: newSpawner(), ctx: ctx, stop: stop, functions: map[string]*function{}}
	if s.deps.Attempt == nil {
		s.deps.Attempt = s.Invoke
	}
	return s
}

// Close kills every process and waits until all are gone.
func (s *Service) Close() {
	s.mu.Lock()
	s.stop()
	for _, f := range s.functions {
		f.close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.spawn.close()
}

// Create adds a function, or replaces it, and returns its ARN. No process starts before the first
// invocation.
func (s *Service) Create(spec Spec) (string, error) {
	switch {
	case spec.Name == "" || len(spec.Command) == 0:
		return "", errors.New("creating function: name and command are required")
	case spec.Timeout == 0:
		spec.Timeout = 3 * time.Second // AWS's default
	case spec.Timeout > 15*time.Minute:
		return "", fmt.Errorf("creating function %q: timeout %s is over 15m", spec.Name, spec.Timeout)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return "", errClosed
	}
	if old := s.functions[spec.Name]; old != nil {
		old.close()
	}
	if _, file := spec.Stderr.(*os.File); spec.Stderr != nil && !file {
		spec.Stderr = &lockedWriter{w: spec.Stderr} // several processes write to it
	}
	f := &function{svc: s, spec: spec, arn: s.arn(spec.Name), slots: make(chan struct{}, maxProcesses),
		changed: make(chan struct{}), all: map[*environment]struct{}{}}
	s.functions[spec.Name] = f
	return f.arn, nil
}

func (s *Service) arn(name string) string {
	return "arn:aws:lambda:" + s.deps.Region + ":" + s.deps.Account + ":function:" + name
}

// find takes a name, a whole or a partial ARN, each with or without a qualifier.
func (s *Service) find(id string) *function {
	if _, after, ok := strings.Cut(id, "function:"); ok {
		id = after
	}
	name, _, _ := strings.Cut(id, ":")
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.functions[name]
}

// Exists tells whether id names a function.
func (s *Service) Exists(id string) bool { return s.find(id) != nil }

// ARN returns the ARN of the function that id names, or of the one that would have that name.
func (s *Service) ARN(id string) string {
	if f := s.find(id); f != nil {
		return f.arn
	}
	return s.arn(id)
}

// PIDs returns the processes of a function that are alive, in ascending order.
func (s *Service) PIDs(id string) []int {
	f := s.find(id)
	if f == nil {
		return nil
	}
	pids := f.pids()
	slices.Sort(pids)
	return pids
}

// lockedWriter lets several processes share a writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
