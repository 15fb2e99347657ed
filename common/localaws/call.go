package localaws

import (
	"context"
	"sync"
	"time"
)

// Call is one API call that was answered, or a step that Secrets Manager asked of a rotation function.
// It holds whatever the client sent and got, secrets included, and must not be logged.
type Call struct {
	Seq       uint64 // rises in the order in which calls came in
	Service   string // the service's IAM prefix: secretsmanager, events, sqs, sns, dynamodb, ec2, sts, lambda
	Action    string
	Resource  string // the ARN or name of what the call is about, as far as it can be told
	Principal string // "operator", a function's or service's name, or a worker's instance ARN
	Start     time.Time
	End       time.Time
	ErrorCode string // "" for success; the function error's kind for a Lambda invocation that failed; "dropped"
	Input     []byte // the JSON document or the encoded form; not to be changed
	Output    []byte // the answer's body; not to be changed
}

// What the call log keeps at most, so that an endpoint may run for weeks.
const (
	maxCalls     = 200_000
	maxCallBytes = 128 << 20
)

type callLog struct {
	maxCalls, maxBytes int

	mu       sync.Mutex
	calls    []Call // oldest first, from head
	head     int
	bytes    int
	watchers map[chan Call]struct{}
	closed   bool
}

func newCallLog(maxCalls, maxBytes int) *callLog {
	return &callLog{maxCalls: maxCalls, maxBytes: maxBytes, watchers: map[chan Call]struct{}{}}
}

func (c Call) size() int { return len(c.Input) + len(c.Output) }

func (l *callLog) add(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
	l.bytes += c.size()
	for l.head < len(l.calls)-1 && (len(l.calls)-l.head > l.maxCalls || l.bytes > l.maxBytes) {
		l.bytes -= l.calls[l.head].size()
		l.calls[l.head] = Call{}
		l.head++
	}
	if l.head > 1024 && l.head > len(l.calls)/2 {
		l.calls = append([]Call(nil), l.calls[l.head:]...)
		l.head = 0
	}
	for w := range l.watchers {
		select {
		case w <- c:
		default: // a watcher that does not keep up misses calls; the server never waits for it
		}
	}
}

func (l *callLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for w := range l.watchers {
		close(w)
		delete(l.watchers, w)
	}
}

func (l *callLog) unwatch(w chan Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.watchers[w]; open {
		delete(l.watchers, w)
		close(w)
	}
}

// Calls returns the calls so far in the order in which they were answered: the latest 200,000, or fewer
// if they hold more than 128 MiB.
func (s *Server) Calls() []Call {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	return append([]Call(nil), s.calls.calls[s.calls.head:]...)
}

// Watch returns a channel that receives every call once it is answered, until ctx or the server ends, when
// it is closed. It buffers 4,096 calls; a reader that falls further behind misses some.
func (s *Server) Watch(ctx context.Context) <-chan Call {
	w := make(chan Call, 4096)
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	if s.calls.closed {
		close(w)
		return w
	}
	s.calls.watchers[w] = struct{}{}
	context.AfterFunc(ctx, func() { s.calls.unwatch(w) })
	return w
}
