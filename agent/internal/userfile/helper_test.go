package userfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/agent/internal/userfile/faults"
)

// The test program starts itself as another process when it has to be killed, traced or somebody else. The variable says what it is to do.
const helperVariable = "ROTATESSH_TEST_HELPER"

func TestMain(m *testing.M) {
	switch role := os.Getenv(helperVariable); role {
	case "":
		os.Exit(m.Run())
	case "rewrite":
		// On the first thread, which is the one that a tracer follows.
		runtime.LockOSThread()
		helpRewrite()
	case "naive":
		helpNaive()
	case "append":
		helpAppend()
	case "swap":
		helpSwap()
	default:
		fmt.Fprintln(os.Stderr, "unknown role", role)
		os.Exit(2)
	}
}

// helper is a command that runs this program in a role.
func helper(ctx context.Context, role string, wrap []string, env ...string) *exec.Cmd {
	argv := append(append([]string{}, wrap...), os.Args[0])
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	// A program built with the race detector sleeps for a second before it ends unless it is told not to.
	cmd.Env = append(os.Environ(), append(env, helperVariable+"="+role, "GORACE=atexit_sleep_ms=0", "GOCOVERDIR="+os.TempDir())...)
	cmd.Stderr = os.Stderr
	return cmd
}

func targetEnv(t Target) []string {
	return []string{"T_HOME=" + t.Home, "T_PATH=" + t.Path, fmt.Sprint("T_UID=", t.UID), fmt.Sprint("T_GID=", t.GID)}
}

func envTarget() Target {
	uid, _ := strconv.Atoi(os.Getenv("T_UID"))
	gid, _ := strconv.Atoi(os.Getenv("T_GID"))
	return Target{User: "u", UID: uid, GID: gid, Home: os.Getenv("T_HOME"), Path: os.Getenv("T_PATH")}
}

// testBlock is what the helper puts into files.
const testBlock = "# BEGIN rotatessh arn:test (managed, edits are overwritten)\n" +
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDoMbYMMpFqyoHqfFBqbgXyXGlFCSGDcMmuOqFRyDLqz v\n" +
	"# END rotatessh arn:test\n"

// addBlock is a Change that appends the block to whatever is there.
func addBlock(old []byte) ([]byte, error) {
	if bytes.Contains(old, []byte(testBlock)) {
		return old, nil
	}
	return joinLines(old, []byte(testBlock)), nil
}

// helpRewrite rewrites once and prints the code.
func helpRewrite() {
	_, err := new(Writer).Rewrite(context.Background(), envTarget(), addBlock)
	var e *Error
	switch {
	case err == nil:
		fmt.Println(faults.Applied)
	case errors.As(err, &e):
		fmt.Println(e.Code)
	default:
		fmt.Println("no code:", err)
	}
}

// runRewrite is a faults.Runner.
func runRewrite(ctx context.Context, s *faults.Site, trace *faults.Trace) (string, error) {
	var wrap []string
	if trace != nil {
		wrap = trace.Wrap()
	}
	cmd := helper(ctx, "rewrite", wrap, targetEnv(Target{UID: s.UID, GID: s.GID, Home: s.Home, Path: s.File})...)
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// longRun asks for the numbers of rounds that a release needs instead of those that every test run can afford.
func longRun() bool { return os.Getenv("ROTATESSH_TEST_LONG") != "" }

// helpNaive is the writer that everybody writes first: by path, with a temporary name that can be guessed, and without looking at errors.
func helpNaive() {
	t := envTarget()
	old, _ := os.ReadFile(t.Path)
	updated, _ := addBlock(old)
	_ = os.MkdirAll(filepath.Dir(t.Path), 0o700)
	_ = os.WriteFile(t.Path+".tmp", updated, 0o600)
	_ = os.Chown(t.Path+".tmp", t.UID, t.GID)
	_ = os.Rename(t.Path+".tmp", t.Path)
	fmt.Println(faults.Applied)
}
