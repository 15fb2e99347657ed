// Package localaws is an AWS endpoint inside this process: Secrets Manager with real rotation semantics,
// Lambda functions that run as processes, EventBridge, SNS, SQS, DynamoDB, EC2, Auto Scaling, STS, Systems
// Manager's Run Command, and an instance metadata service for each instance, all on loopback.
//
// It promises that any AWS SDK, and the aws CLI, can use it through AWS_ENDPOINT_URL or --endpoint-url,
// that it answers with AWS's error names and codes, and that an operation which it lacks is an error and
// never a silent success. State lives in memory, and so does the record of calls, which is bounded.
//
// It checks who a caller is by access key and session token only and verifies no signature: whoever
// reaches the port is trusted. Credentials that an instance's metadata service issued are held to the
// WorkerPolicy; every other key is the operator's.
package localaws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/localaws/internal/autoscaling"
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb"
	"github.com/rotatessh/rotatessh/common/localaws/internal/ec2"
	"github.com/rotatessh/rotatessh/common/localaws/internal/eventbridge"
	"github.com/rotatessh/rotatessh/common/localaws/internal/imds"
	"github.com/rotatessh/rotatessh/common/localaws/internal/lambda"
	"github.com/rotatessh/rotatessh/common/localaws/internal/secretsmanager"
	"github.com/rotatessh/rotatessh/common/localaws/internal/sns"
	"github.com/rotatessh/rotatessh/common/localaws/internal/sqs"
	"github.com/rotatessh/rotatessh/common/localaws/internal/ssm"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Server is a running endpoint. Its methods may be called by many goroutines at once.
type Server struct {
	opts Options
	log  *zap.Logger

	listener net.Listener
	http     *http.Server
	stop     context.CancelFunc // ends the context of every request in hand
	served   sync.WaitGroup     // the server's own goroutines
	fresh    *freshConns

	seq        atomic.Uint64
	calls      *callLog
	faults     *faultList
	identities *identities
	metadata   *metadata
	roles      roles
	messages   recent // bodies that came into queues
	seen       recent // events that were put on the bus

	secrets   *secretsmanager.Service
	functions *lambda.Service
	ec2       *ec2.Service
	groups    *autoscaling.Service
	dynamodb  *dynamodb.Service
	sqs       *sqs.Service
	sns       *sns.Service
	events    *eventbridge.Service
	commands  *ssm.Service
	services  map[string]wire.Handler
}

var errClosed = errors.New("localaws is closed")

// Start listens on a free port of 127.0.0.1 and serves until Close.
func Start(opts Options) (*Server, error) {
	s := &Server{opts: opts.withDefaults(), calls: newCallLog(maxCalls, maxCallBytes), faults: &faultList{},
		identities: newIdentities(), metadata: &metadata{servers: map[string]*imds.Server{}}}
	s.log = s.opts.Log.Named("localaws")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening on loopback: %w", err)
	}
	s.listener = listener
	s.wire()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.fresh = &freshConns{conns: map[net.Conn]struct{}{}}
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 30 * time.Second, ConnState: s.fresh.note,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	s.served.Go(func() { s.expireItems(ctx) })
	s.served.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("stopped serving", zap.Error(err))
		}
	})
	return s, nil
}

// URL returns the endpoint, for AWS_ENDPOINT_URL.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Close stops everything, kills the processes of Lambda functions and waits until they are gone.
func (s *Server) Close() error {
	s.stop()
	s.fresh.close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("waiting for calls in hand: %w", errors.Join(err, s.http.Close()))
	}
	s.served.Wait()
	err = errors.Join(err, s.metadata.close())
	s.closeServices()
	s.calls.close()
	return err
}

// Env returns the variables with which an operator's SDK, or another process, reaches the endpoint.
func (s *Server) Env() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + s.URL(),
		"AWS_REGION=" + s.opts.Region,
		"AWS_DEFAULT_REGION=" + s.opts.Region,
		"AWS_ACCESS_KEY_ID=AKIALOCALAWSOPERATOR",
		"AWS_SECRET_ACCESS_KEY=localaws",
	}
}
