package userfile

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A sysCall is a finished system call of a traced process.
type sysCall struct {
	nr   uint64
	args [6]uint64
	ret  int64
	path string // the name or the descriptor's path that it is about
}

func (c sysCall) on(what string) bool { return strings.Contains(c.path, what) }

// traced starts the command, whose work is all done by its first thread, and calls step before each of that thread's system calls
// and again, with the result, after it. When step answers true the process is killed. It must not be called twice at once from
// one thread.
func traced(t testing.TB, cmd *exec.Cmd, step func(c sysCall, done bool) (kill bool)) (killed bool) {
	t.Helper()
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		t.Skipf("not run: processes cannot be traced here: %v", err)
	}
	pid := cmd.Process.Pid
	defer func() { _ = cmd.Wait() }()
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		t.Fatalf("waiting for the start: %v, %v", status, err)
	}
	must(t, unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_EXITKILL))
	var now sysCall
	for signal := 0; ; {
		if err := unix.PtraceSyscall(pid, signal); err != nil {
			return false
		}
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil || status.Exited() || status.Signaled() {
			return false
		}
		signal = 0
		if !status.Stopped() {
			continue
		}
		if stop := status.StopSignal(); stop != unix.SIGTRAP|0x80 {
			if stop != unix.SIGTRAP {
				signal = int(stop)
			}
			continue
		}
		info, err := syscallInfo(pid)
		if err != nil {
			t.Skipf("not run: %v", err)
		}
		done := info.op == 2 // PTRACE_SYSCALL_INFO_EXIT
		if done {
			now.ret = int64(info.data[0])
		} else {
			now = sysCall{nr: info.data[0], args: [6]uint64(info.data[1:7])}
			now.path = pathOf(pid, now)
		}
		if step(now, done) {
			must(t, unix.Kill(pid, unix.SIGKILL))
			return true
		}
	}
}

// ptraceInfo is struct ptrace_syscall_info of linux/ptrace.h.
type ptraceInfo struct {
	op   uint8
	_    [3]uint8
	_    uint32
	_, _ uint64
	data [8]uint64
}

func syscallInfo(pid int) (info ptraceInfo, err error) {
	const getSyscallInfo = 0x420e // PTRACE_GET_SYSCALL_INFO
	_, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, getSyscallInfo, uintptr(pid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		return info, fmt.Errorf("PTRACE_GET_SYSCALL_INFO: %w", errno)
	}
	return info, nil
}

// pathOf finds what the calls that matter here are about.
func pathOf(pid int, c sysCall) string {
	switch c.nr {
	case unix.SYS_OPENAT, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return peek(pid, c.args[1])
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_WRITEV, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FTRUNCATE, unix.SYS_FCHMOD, unix.SYS_FCHOWN, unix.SYS_FSETXATTR:
		path, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, c.args[0]))
		return path
	}
	return ""
}

// peek reads a string of the traced process.
func peek(pid int, address uint64) string {
	var text []byte
	for len(text) < unix.PathMax {
		var word [8]byte
		if _, err := unix.PtracePeekData(pid, uintptr(address), word[:]); err != nil {
			return ""
		}
		for _, c := range word {
			if c == 0 {
				return string(text)
			}
			text = append(text, c)
		}
		address += 8
	}
	return ""
}

func TestContentIsOnTheDiskBeforeItIsVisible(t *testing.T) {
	for name, content := range map[string][]byte{"with a file": []byte("old\n"), "without a file": nil} {
		t.Run(name, func(t *testing.T) {
			target := userHome(t, content)
			var calls []sysCall
			cmd := helper(t.Context(), "rewrite", nil, targetEnv(target)...)
			traced(t, cmd, func(c sysCall, done bool) bool {
				if done && c.path != "" {
					calls = append(calls, c)
				}
				return false
			})
			checkOrder(t, calls)
			wantContent(t, target.Path, string(content)+testBlock)
		})
	}
}

// checkOrder demands: the temp is made, written, synced, and never changed again before it is renamed; then the folder is synced.
func checkOrder(t *testing.T, calls []sysCall) {
	t.Helper()
	const nothing, made, written, synced, renamed, durable = 0, 1, 2, 3, 4, 5
	state := nothing
	for _, c := range calls {
		if c.ret < 0 {
			continue
		}
		temp := c.on(TempPrefix)
		switch {
		case c.nr == unix.SYS_OPENAT && temp:
			state = made
		case temp && changesContent(c.nr):
			if state != made && state != written {
				t.Errorf("the temp is changed by call %d in state %d", c.nr, state)
			}
			state = written
		case temp && c.nr == unix.SYS_FSYNC:
			if state != written {
				t.Errorf("the temp is synced in state %d", state)
			}
			state = synced
		case temp && (c.nr == unix.SYS_RENAMEAT || c.nr == unix.SYS_RENAMEAT2):
			if state != synced {
				t.Errorf("the temp is renamed in state %d", state)
			}
			state = renamed
		case c.nr == unix.SYS_FSYNC && strings.HasSuffix(c.path, "/.ssh") && state == renamed:
			state = durable
		}
	}
	if state != durable {
		t.Errorf("the last state was %d of %d", state, durable)
	}
}

func changesContent(nr uint64) bool {
	switch nr {
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_WRITEV, unix.SYS_FTRUNCATE, unix.SYS_FCHMOD, unix.SYS_FCHOWN, unix.SYS_FSETXATTR:
		return true
	}
	return false
}

func TestStraceSeesTheSameOrder(t *testing.T) {
	program, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("not run: needs strace")
	}
	target := userHome(t, []byte("old\n"))
	record := t.TempDir() + "/record"
	wrap := []string{program, "-f", "-qq", "-y", "-o", record, "-e", "trace=openat,write,pwrite64,writev,ftruncate,fsync,fdatasync,renameat,renameat2", "--"}
	must(t, helper(t.Context(), "rewrite", wrap, targetEnv(target)...).Run())
	text, err := os.ReadFile(record)
	must(t, err)
	var calls []sysCall
	numbers := map[string]uint64{
		"openat": unix.SYS_OPENAT, "write": unix.SYS_WRITE, "pwrite64": unix.SYS_PWRITE64, "writev": unix.SYS_WRITEV, "ftruncate": unix.SYS_FTRUNCATE,
		"fsync": unix.SYS_FSYNC, "renameat": unix.SYS_RENAMEAT, "renameat2": unix.SYS_RENAMEAT2,
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), " ", 2)
		name, args, ok := strings.Cut(strings.TrimSpace(fields[len(fields)-1]), "(")
		nr, known := numbers[name]
		if !ok || !known {
			continue
		}
		c := sysCall{nr: nr, path: args}
		if name == "fsync" { // fsync(7</home/u/.ssh>) = 0
			_, path, _ := strings.Cut(args, "<")
			c.path, _, _ = strings.Cut(path, ">)")
		}
		if strings.Contains(args, " = -1 ") {
			c.ret = -1
		}
		calls = append(calls, c)
	}
	checkOrder(t, calls)
}

// A startState is what a killed writer begins with.
type startState struct {
	name    string
	arrange func(t *testing.T, target Target) (old []byte)
}

func startStates() []startState {
	write := func(t *testing.T, target Target, content string) []byte {
		must(t, os.WriteFile(target.Path, []byte(content), 0o600))
		return []byte(content)
	}
	return []startState{
		{"no file", func(*testing.T, Target) []byte { return nil }},
		{"no folder", func(t *testing.T, target Target) []byte { must(t, os.RemoveAll(target.Home+"/.ssh")); return nil }},
		{"two lines", func(t *testing.T, target Target) []byte { return write(t, target, "# one\nssh-ed25519 AAAA two\n") }},
		{"10,000 lines", func(t *testing.T, target Target) []byte {
			return write(t, target, strings.Repeat("ssh-ed25519 AAAAC3NzaC1 me\n", 10_000))
		}},
		{"stale temp", func(t *testing.T, target Target) []byte {
			must(t, os.WriteFile(target.Home+"/.ssh/"+TempPrefix+"stale", []byte("# half a"), 0o600))
			return write(t, target, "# one\n")
		}},
	}
}

// A process that dies at any system call between the making of the temp and the syncing of the folder leaves the old file or the new one,
// and the next run puts everything right.
func TestDeathAtAnyMomentLeavesOldOrNew(t *testing.T) {
	want, stride := 20, 4
	if longRun() {
		want, stride = 2000, 1
	}
	var died, left int
	for died < want {
		before := died
		for _, start := range startStates() {
			d, l := killEverywhere(t, start, stride)
			died, left = died+d, left+l
		}
		if died == before {
			t.Fatal("no process died inside the window")
		}
	}
	t.Logf("%d processes died between the temp's openat and the folder's fsync, %d left a temp", died, left)
	if left == 0 {
		t.Error("no process died with its temp in place: the window was missed")
	}
}

// killEverywhere kills one process at each stride-th system call of the window, until one gets through.
func killEverywhere(t *testing.T, start startState, stride int) (died, left int) {
	t.Helper()
	for at := 1 + len(start.name)%stride; ; at += stride { // not at the same calls for every start
		target := userHome(t, nil)
		old := start.arrange(t, target)
		if !killAt(t, target, at) {
			return died, left
		}
		died++
		dir := target.Home + "/.ssh"
		if strings.Contains(strings.ReplaceAll(listing(t, dir), TempPrefix+"stale", ""), TempPrefix) {
			left++
		}
		content, err := os.ReadFile(target.Path)
		if old == nil && errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		if s := string(content); err != nil || s != string(old) && s != string(old)+testBlock {
			t.Fatalf("%s: killed at call %d: torn content of %d bytes, %v", start.name, at, len(content), err)
		}
		_, err = new(Writer).Rewrite(t.Context(), target, addBlock)
		must(t, err)
		wantContent(t, target.Path, string(old)+testBlock)
		wantNoTemps(t, dir)
	}
}

// killAt kills a rewrite before the at-th system call of the window; false when it had fewer.
func killAt(t *testing.T, target Target, at int) bool {
	t.Helper()
	inside, seen := false, 0
	return traced(t, helper(t.Context(), "rewrite", nil, targetEnv(target)...), func(c sysCall, done bool) bool {
		switch {
		case !done && c.nr == unix.SYS_OPENAT && strings.HasPrefix(c.path, TempPrefix) && !strings.HasSuffix(c.path, "stale"):
			inside = true
		case done && inside && c.nr == unix.SYS_FSYNC && strings.HasSuffix(c.path, "/.ssh"):
			inside = false
		}
		if !done && inside {
			seen++
		}
		return inside && !done && seen == at
	})
}
