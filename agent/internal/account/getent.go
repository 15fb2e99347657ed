package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// notFound is the exit status by which getent says that there is no such key.
const notFound = 2

// maxAnswer bounds what is read of an answer or a complaint.
const maxAnswer = 16 << 10

// ask runs getent for one user. The environment is empty: nothing of ours is to steer the name service's libraries.
func ask(ctx context.Context, program, name string) (string, error) {
	var out, complaint limited
	cmd := exec.CommandContext(ctx, program, "passwd", name)
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("waiting for the name service: %w", ctx.Err())
	case errors.As(err, &exit) && exit.ExitCode() == notFound:
		return "", ErrUnknown
	case err != nil:
		return "", fmt.Errorf("running %s: %w %s", program, err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// A limited buffer drops what is beyond its limit.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.Buffer.Write(p[:min(len(p), maxAnswer-l.Len())])
	return len(p), nil
}
