package localaws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/ssm"
)

// CommandResult is how a script that Systems Manager sent to an instance ended there.
type CommandResult struct {
	Stdout, Stderr string
	ExitCode       int
}

// CommandRunner plays one instance's Systems Manager agent: it runs a shell script until ctx ends.
type CommandRunner func(ctx context.Context, script string) CommandResult

// ManageInstance registers an instance with Systems Manager, so that Run Command reaches it: run is called with
// each script. SendCommand to an instance that is not registered is refused with InvalidInstanceId, as on AWS.
// A nil run takes the registration back.
func (s *Server) ManageInstance(id string, run CommandRunner) error {
	if _, found := s.ec2.Get(id); !found {
		return fmt.Errorf("managing instance %q: there is none", id)
	}
	if run == nil {
		s.commands.Manage(id, nil)
		return nil
	}
	s.commands.Manage(id, func(ctx context.Context, script string) ssm.Result { return ssm.Result(run(ctx, script)) })
	return nil
}

// isRunning tells whether an instance is there and running.
func (s *Server) isRunning(id string) bool {
	i, found := s.ec2.Get(id)
	return found && i.State == "running"
}

// Shell is a CommandRunner that runs scripts as real processes of this machine: written to a file, and run by
// /bin/sh, as Systems Manager's agent does.
type Shell struct {
	Dir string   // working directory, where the script's file is made, too
	Env []string // KEY=value; all that the script sees of this process's environment
}

// Run implements CommandRunner. A script that ctx ends is killed with all of its process group.
func (s Shell) Run(ctx context.Context, script string) CommandResult {
	file, err := os.CreateTemp(s.Dir, "_script*.sh")
	if err != nil {
		return CommandResult{Stderr: err.Error(), ExitCode: 1}
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.WriteString(script)
	if err := errors.Join(err, file.Close()); err != nil {
		return CommandResult{Stderr: err.Error(), ExitCode: 1}
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "/bin/sh", file.Name())
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.Dir, s.Env, &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	result := CommandResult{Stdout: stdout.String(), Stderr: stderr.String()}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		result.ExitCode = exit.ExitCode()
	} else if err != nil {
		result.Stderr, result.ExitCode = result.Stderr+err.Error(), 1
	}
	return result
}
