package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"

	"golang.org/x/sys/unix"
)

// output is what a command has come to.
type output struct {
	stdout, stderr string
	status         int
}

// command runs the operator's program against the fleet's AWS endpoint, as the operator would.
func (f *Fleet) command(ctx context.Context, args ...string) (output, error) {
	ctx, cancel := f.bound(ctx)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := &exec.Cmd{
		Path: f.options.Binaries.Rotatessh, Args: append([]string{f.options.Binaries.Rotatessh}, args...),
		Dir: f.folder.path, Env: append(baseEnv(), f.Access().Environment()...), Stdout: &stdout, Stderr: &stderr,
	}
	if err := f.spawn.start(cmd); err != nil {
		return output{}, fmt.Errorf("starting rotatessh %s: %w", args[0], err)
	}
	f.guardian.watch(cmd.Process.Pid)
	defer f.guardian.forget(cmd.Process.Pid)
	stop := context.AfterFunc(ctx, func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
	defer stop()
	err := cmd.Wait()
	if ctx.Err() != nil {
		return output{}, fmt.Errorf("running rotatessh %s: %w", args[0], context.Cause(ctx))
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return output{}, fmt.Errorf("running rotatessh %s: %w", args[0], err)
	}
	return output{stdout: stdout.String(), stderr: stderr.String(), status: cmd.ProcessState.ExitCode()}, nil
}
