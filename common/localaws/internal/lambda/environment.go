package lambda

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// errExited has AWS's sentence for a process that is gone.
//
//nolint:staticcheck // AWS's capital
var errExited = errors.New("Runtime exited without providing a reason")

// environment is one process of a function and the Runtime API that it alone talks to.
type environment struct {
	fn     *function
	cmd    *exec.Cmd
	server *http.Server
	want   chan chan *invocation // unbuffered: the process offers to take an invocation
	asked  atomic.Bool           // the process has asked for work at least once
	exited chan struct{}         // closed once the process is gone
	reason string                // why, valid after exited

	idleSince time.Time // guarded by fn.mu, as settling is
	settling  bool      // answered, and not asking for work yet

	mu      sync.Mutex
	running *invocation // handed out and not yet answered
	dead    bool
}

// start starts a process. It is not in the idle list yet: its first work comes from the caller.
func (f *function) start() (*environment, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the runtime API: %w", err)
	}
	env := &environment{fn: f, want: make(chan chan *invocation), exited: make(chan struct{})}
	env.server = &http.Server{Handler: env.handler(), ReadHeaderTimeout: time.Minute}
	env.cmd = f.command(listener.Addr().String())
	if err := f.launch(env); err != nil {
		_ = listener.Close()
		return nil, err
	}
	f.svc.wg.Go(func() { _ = env.server.Serve(listener) })
	f.svc.wg.Go(env.wait)
	return env, nil
}

// launch starts the process and registers it in one step, so that close misses none.
func (f *function) launch(env *environment) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errClosed
	}
	if err := f.svc.spawn.start(env.cmd); err != nil {
		return fmt.Errorf("starting %q: %w", env.cmd.Path, err)
	}
	f.all[env] = struct{}{}
	f.svc.deps.Log.Debug("function process started", zap.String("function", f.spec.Name), zap.Int("pid", env.cmd.Process.Pid))
	return nil
}

func (f *function) command(api string) *exec.Cmd {
	cmd := exec.Command(f.spec.Command[0], f.spec.Command[1:]...)
	cmd.Env = append([]string{
		"AWS_LAMBDA_RUNTIME_API=" + api,
		"AWS_LAMBDA_FUNCTION_NAME=" + f.spec.Name,
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/" + f.spec.Name,
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"PATH=" + os.Getenv("PATH"),
		"TZ=:UTC",
		"LANG=en_US.UTF-8",
	}, f.svc.deps.Env(f.spec.Name)...)
	cmd.Env = append(cmd.Env, f.spec.Env...)
	cmd.Stdout, cmd.Stderr = f.spec.Stderr, f.spec.Stderr
	cmd.WaitDelay = time.Second // a grandchild that keeps the pipe open must not keep us
	return cmd
}

// wait reaps the process and settles what it left unanswered.
func (e *environment) wait() {
	_ = e.cmd.Wait()
	e.mu.Lock()
	e.dead = true
	e.reason = e.cmd.ProcessState.String()
	inv := e.running
	e.running = nil
	e.mu.Unlock()
	e.fn.gone(e)
	close(e.exited)
	_ = e.server.Close()
	if inv != nil {
		inv.done <- failure("Runtime.ExitError", "RequestId: "+inv.id+" Error: Runtime exited with error: "+e.reason)
	}
	e.fn.svc.deps.Log.Debug("function process ended", zap.String("function", e.fn.spec.Name), zap.String("state", e.reason))
}

// kill ends the process and everything that it started.
func (e *environment) kill() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.dead {
		killGroup(e.cmd.Process.Pid)
	}
}

// run gives inv to the process and waits for its outcome. errUndelivered means that the process never
// took it although it had been idle.
func (e *environment) run(inv *invocation) (Result, error) {
	fresh := e.idleSince.IsZero()
	if err := e.deliver(inv); err != nil {
		if !fresh {
			return Result{}, errUndelivered
		}
		return failure("Runtime.ExitError", "RequestId: "+inv.id+" Error: "+err.Error()), nil
	}
	timeout := time.NewTimer(time.Until(inv.deadline))
	defer timeout.Stop()
	select {
	case r := <-inv.done:
		return r, nil
	case <-timeout.C:
	}
	if !e.abort(inv) {
		return <-inv.done, nil // answered at the last moment
	}
	e.kill()
	<-e.exited // no zombie of the old invocation may act after the failure is reported
	return failure("Sandbox.Timedout", fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds",
		inv.id, e.fn.spec.Timeout.Seconds())), nil
}

// deliver hands inv over once the process asks for work.
func (e *environment) deliver(inv *invocation) error {
	ready := time.NewTimer(initTimeout)
	defer ready.Stop()
	select {
	case reply := <-e.want:
		return e.hand(inv, reply)
	case <-e.exited:
		return fmt.Errorf("%w: %s", errExited, e.reason)
	case <-ready.C:
		e.kill()
		<-e.exited
		return fmt.Errorf("the function's init phase timed out after %s", initTimeout)
	}
}

// hand starts the clock of inv and gives it away.
func (e *environment) hand(inv *invocation, reply chan<- *invocation) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	// A process that is gone already costs no invocation, even if wait has not run yet.
	if e.dead || e.cmd.Process.Signal(syscall.Signal(0)) != nil {
		return errExited
	}
	inv.deadline = time.Now().Add(e.fn.spec.Timeout)
	e.running = inv
	reply <- inv
	return nil
}

// abort takes inv away from the process; false means that it is answered already.
func (e *environment) abort(inv *invocation) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running != inv {
		return false
	}
	e.running = nil
	return true
}

// failure is the payload of a function error that the function did not write itself.
func failure(kind, message string) Result {
	payload, err := json.Marshal(map[string]string{"errorType": kind, "errorMessage": message})
	if err != nil {
		payload = []byte("{}")
	}
	return Result{Payload: payload, FunctionError: "Unhandled"}
}
