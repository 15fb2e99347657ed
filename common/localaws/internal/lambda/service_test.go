package lambda

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	goruntime "runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	runtime "github.com/aws/aws-lambda-go/lambda"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

// role makes this test binary something else than the tests.
const role = "LAMBDA_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "function":
		runtime.Start(handle)
	case "broken":
		os.Exit(7)
	case "host":
		hostUntilKilled()
	default:
		os.Exit(m.Run())
	}
}

type order struct {
	Do  string
	For string // a file: "wait" ends when it appears, "hang" makes it
}

type report struct {
	PID      int
	Deadline time.Time
	Name     string
}

func handle(ctx context.Context, o order) (report, error) {
	deadline, _ := ctx.Deadline()
	r := report{PID: os.Getpid(), Deadline: deadline, Name: os.Getenv("AWS_LAMBDA_FUNCTION_NAME")}
	switch o.Do {
	case "fail":
		return r, errors.New("as asked")
	case "panic":
		panic("as asked")
	case "exit":
		os.Exit(3)
	case "hang":
		if o.For != "" {
			if err := os.WriteFile(o.For, nil, 0o600); err != nil {
				return r, err
			}
		}
		<-make(chan struct{})
	case "wait":
		for exists(o.For) != nil {
			time.Sleep(time.Millisecond)
		}
	}
	return r, nil
}

func exists(path string) error {
	_, err := os.Stat(path)
	return err
}

// hostUntilKilled is a process that hosts a function, tells its process id and waits for its own end.
func hostUntilKilled() {
	s := New(Deps{Log: zap.NewNop(), Env: func(string) []string { return nil }})
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	if _, err := s.Create(Spec{Name: "f", Command: []string{exe}, Env: []string{role + "=function"}, Timeout: time.Minute}); err != nil {
		panic(err)
	}
	// One in an invocation: an idle process would notice the loss of its Runtime API by itself.
	hanging := os.Getenv("HANGING")
	s.InvokeAsync("f", []byte(`{"Do":"hang","For":"`+hanging+`"}`))
	for exists(hanging) != nil {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(s.PIDs("f")[0])
	select {}
}

func newService(t *testing.T, change func(*Deps)) *Service {
	t.Helper()
	d := Deps{Region: "us-east-1", Account: "111122223333", Log: zaptest.NewLogger(t),
		Env: func(string) []string { return []string{"SHARED=1"} }, RetryAfter: time.Millisecond}
	if change != nil {
		change(&d)
	}
	s := New(d)
	t.Cleanup(s.Close)
	return s
}

func create(t *testing.T, s *Service, as string, timeout time.Duration) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{Name: "f", Command: []string{exe}, Env: []string{role + "=" + as}, Timeout: timeout, Stderr: t.Output()}
	if _, err := s.Create(spec); err != nil {
		t.Fatal(err)
	}
}

func invoke(t *testing.T, s *Service, o order) (report, Result) {
	t.Helper()
	payload, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	result, err := s.Invoke(t.Context(), "f", payload)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if result.FunctionError == "" {
		if err := json.Unmarshal(result.Payload, &r); err != nil {
			t.Fatalf("payload %s: %v", result.Payload, err)
		}
	}
	return r, result
}

func errorType(t *testing.T, r Result) string {
	t.Helper()
	var doc struct{ ErrorType string }
	if err := json.Unmarshal(r.Payload, &doc); err != nil || r.FunctionError == "" {
		t.Fatalf("not a function error: %+v, %v", r, err)
	}
	return doc.ErrorType
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestProcessIsUsedAgain(t *testing.T) {
	s := newService(t, nil)
	create(t, s, "function", time.Minute)
	if pids := s.PIDs("f"); len(pids) != 0 {
		t.Errorf("processes before the first invocation: %v", pids)
	}
	first, _ := invoke(t, s, order{})
	second, _ := invoke(t, s, order{Do: "fail"})
	third, _ := invoke(t, s, order{})
	if first.PID != third.PID || second.PID != 0 {
		t.Errorf("processes %d and %d, want one", first.PID, third.PID)
	}
	if diff := cmp.Diff([]int{first.PID}, s.PIDs("f")); diff != "" {
		t.Errorf("PIDs (-want +got):\n%s", diff)
	}
	if first.Name != "f" {
		t.Errorf("function name %q", first.Name)
	}
	if d := time.Until(first.Deadline); d < 30*time.Second || d > time.Minute {
		t.Errorf("deadline in %s, want about a minute", d)
	}
}

func TestHandlerErrorIsTheAnswer(t *testing.T) {
	s := newService(t, nil)
	create(t, s, "function", time.Minute)
	_, r := invoke(t, s, order{Do: "fail"})
	if got := errorType(t, r); got != "errorString" {
		t.Errorf("error type %q; payload %s", got, r.Payload)
	}
}

func TestDeathFailsTheInvocationAndAnotherProcessFollows(t *testing.T) {
	s := newService(t, nil)
	create(t, s, "function", time.Minute)
	first, _ := invoke(t, s, order{})
	_, r := invoke(t, s, order{Do: "exit"})
	if got := errorType(t, r); got != "Runtime.ExitError" {
		t.Errorf("error type %q", got)
	}
	_, r = invoke(t, s, order{Do: "panic"})
	errorType(t, r)
	last, _ := invoke(t, s, order{})
	if last.PID == first.PID || alive(first.PID) {
		t.Errorf("process %d is still there", first.PID)
	}
}

func TestIdleProcessThatDiedCostsNoInvocation(t *testing.T) {
	s := newService(t, nil)
	create(t, s, "function", time.Minute)
	for range 20 {
		r, result := invoke(t, s, order{})
		if result.FunctionError != "" {
			t.Fatalf("invocation failed: %s", result.Payload)
		}
		if err := syscall.Kill(r.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for alive(r.PID) {
			time.Sleep(time.Millisecond)
		}
	}
}

func TestTimeoutKillsTheProcess(t *testing.T) {
	s := newService(t, nil)
	create(t, s, "function", 50*time.Millisecond)
	first, _ := invoke(t, s, order{})
	_, r := invoke(t, s, order{Do: "hang"})
	if got := errorType(t, r); got != "Sandbox.Timedout" {
		t.Errorf("error type %q", got)
	}
	if alive(first.PID) {
		t.Error("process outlived its timeout")
	}
}

func TestBrokenBootstrapFailsTheInvocation(t *testing.T) {
	s := newService(t, nil)
	create(t, s, "broken", time.Minute)
	_, r := invoke(t, s, order{})
	if got := errorType(t, r); got != "Runtime.ExitError" {
		t.Errorf("error type %q", got)
	}
	if _, err := s.Create(Spec{Name: "f", Command: []string{"/nowhere/bootstrap"}}); err != nil {
		t.Fatal(err)
	}
	_, r = invoke(t, s, order{})
	if got := errorType(t, r); got != "Runtime.InvalidEntrypoint" {
		t.Errorf("error type %q", got)
	}
}

func TestInvocationsAtOnceHaveProcessesOfTheirOwn(t *testing.T) {
	s := newService(t, nil)
	create(t, s, "function", time.Minute)
	gate := t.TempDir() + "/open"
	var mu sync.Mutex
	pids := map[int]bool{}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			r, _ := invoke(t, s, order{Do: "wait", For: gate})
			mu.Lock()
			defer mu.Unlock()
			pids[r.PID] = true
		})
	}
	for len(s.PIDs("f")) < 3 {
		time.Sleep(time.Millisecond)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if len(pids) != 3 {
		t.Errorf("%d processes served 3 invocations at once", len(pids))
	}
}

func TestInvocationGoesOnWhenItsCallerLeaves(t *testing.T) {
	s := newService(t, nil)
	create(t, s, "function", time.Minute)
	gate := t.TempDir() + "/open"
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Invoke(ctx, "f", []byte(`{"Do":"wait","For":"`+gate+`"}`))
		done <- err
	}()
	for len(s.PIDs("f")) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Invoke = %v", err)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pid := s.PIDs("f")[0]
	if r, _ := invoke(t, s, order{}); r.PID != pid && !alive(pid) {
		t.Errorf("process %d did not survive its caller", pid)
	}
}

func TestCloseLeavesNoProcess(t *testing.T) {
	s := newService(t, nil)
	create(t, s, "function", time.Minute)
	idle, _ := invoke(t, s, order{})
	hanging := t.TempDir() + "/hanging"
	result := make(chan Result, 1)
	go func() {
		r, err := s.Invoke(context.Background(), "f", []byte(`{"Do":"hang","For":"`+hanging+`"}`))
		if err != nil {
			t.Error(err)
		}
		result <- r
	}()
	for exists(hanging) != nil {
		time.Sleep(time.Millisecond)
	}
	s.Close()
	if alive(idle.PID) || len(s.PIDs("f")) != 0 {
		t.Error("process outlived Close")
	}
	select {
	case r := <-result:
		errorType(t, r)
	case <-t.Context().Done():
		t.Error("invocation in hand never ended")
	}
	if _, err := s.Create(Spec{Name: "g", Command: []string{"/x"}}); err == nil {
		t.Error("Create after Close succeeded")
	}
}

func TestFailedEventIsTriedTwiceMore(t *testing.T) {
	var mu sync.Mutex
	attempts := 0
	s := newService(t, func(d *Deps) {
		d.Attempt = func(context.Context, string, []byte) (Result, error) {
			mu.Lock()
			defer mu.Unlock()
			attempts++
			return failure("x", "y"), nil
		}
	})
	s.InvokeAsync("f", []byte("{}"))
	for {
		mu.Lock()
		n := attempts
		mu.Unlock()
		if n == asyncAttempts {
			break
		}
		time.Sleep(time.Millisecond)
	}
	s.Close()
	if attempts != 3 {
		t.Errorf("%d attempts, want 3", attempts)
	}
}

func TestProcessDiesWithItsHost(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.CommandContext(t.Context(), exe)
	host.Env = append(os.Environ(), role+"=host", "HANGING="+t.TempDir()+"/hanging")
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(strings.TrimSpace(line), &pid); err != nil || !alive(pid) {
		t.Fatalf("function process %q is not alive: %v", line, err)
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait()
	for stateOf(pid) != "" && stateOf(pid) != "Z" { // an orphan may wait for a slow init to reap it
		time.Sleep(time.Millisecond)
	}
}

func TestProcessOutlivesTheThreadsOfItsHost(t *testing.T) {
	s := newService(t, nil)
	create(t, s, "function", time.Minute)
	r, _ := invoke(t, s, order{})
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for range 100 {
		wg.Go(func() {
			goruntime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			<-gate
		})
	}
	close(gate)
	wg.Wait()
	if again, _ := invoke(t, s, order{}); again.PID != r.PID {
		t.Error("process died with a thread")
	}
}

// stateOf returns the state letter of a process, "" when there is none.
func stateOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[:1]
}

func TestFunctionIsFoundByNameAndARN(t *testing.T) {
	s := newService(t, nil)
	create(t, s, "function", time.Minute)
	for _, id := range []string{"f", "arn:aws:lambda:us-east-1:111122223333:function:f", "arn:aws:lambda:us-east-1:111122223333:function:f:$LATEST", "111122223333:function:f", "f:1"} {
		if !s.Exists(id) {
			t.Errorf("%s is not found", id)
		}
	}
	if s.Exists("g") {
		t.Error("g is found")
	}
}

func TestOddSpecsAreRefused(t *testing.T) {
	s := newService(t, nil)
	for _, spec := range []Spec{{}, {Name: "f"}, {Command: []string{"/x"}}, {Name: "f", Command: []string{"/x"}, Timeout: 16 * time.Minute}} {
		if _, err := s.Create(spec); err == nil {
			t.Errorf("Create(%+v) succeeded", spec)
		}
	}
}
