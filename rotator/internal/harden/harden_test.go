package harden_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestProgramsThatHoldPrivateKeysCannotDumpCore looks at the compiled programs from outside, while they wait
// for an endpoint that never answers.
func TestProgramsThatHoldPrivateKeysCannotDumpCore(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the backlog takes connections, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	address := silent.Addr().String()
	dir := t.TempDir()
	share(t, dir)
	for name, args := range map[string][]string{"rotatessh": {"status"}, "bootstrap": nil} {
		t.Run(name, func(t *testing.T) {
			binary := filepath.Join(dir, name)
			if out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", binary, "../../cmd/"+name).CombinedOutput(); err != nil {
				t.Fatalf("building: %v\n%s", err, out)
			}
			cmd := exec.Command(binary, args...)
			cmd.Env = []string{"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=A", "AWS_SECRET_ACCESS_KEY=S", "AWS_EC2_METADATA_DISABLED=true",
				"AWS_ENDPOINT_URL=http://" + address, "AWS_LAMBDA_RUNTIME_API=" + address}
			pid := start(t, cmd)
			until(t, "it has set its limit", func() bool { return coreLimit(t, pid) == "0 0" })
			until(t, "it is not dumpable", func() bool { return owner(t, pid) == 0 })
		})
	}
}

// TestOtherProgramsCanDumpCore shows that the test above looks at something that differs.
func TestOtherProgramsCanDumpCore(t *testing.T) {
	pid := start(t, exec.Command("/bin/sleep", "1000"))
	if owner(t, pid) == 0 {
		t.Error("a program that does not harden itself seems to be not dumpable")
	}
	if coreLimit(t, pid) == "0 0" {
		t.Skip("not run: core dumps are switched off for everybody here")
	}
}

const nobody = 65534

// share makes the folder and its parents accessible to the user that start uses.
func share(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// start runs cmd until the end of the test, never as root: what shows in /proc that a process is not dumpable
// is that its files there belong to root and not to its user.
func start(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

// coreLimit is the soft and the hard limit of core files.
func coreLimit(t *testing.T, pid int) string {
	t.Helper()
	limits, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if rest, found := strings.CutPrefix(line, "Max core file size"); found {
			fields := strings.Fields(rest)
			return fields[0] + " " + fields[1]
		}
	}
	t.Fatalf("no limit of core files in\n%s", limits)
	return ""
}

func owner(t *testing.T, pid int) uint32 {
	t.Helper()
	info, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for !holds() {
		select {
		case <-t.Context().Done():
			t.Fatalf("never came true: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
