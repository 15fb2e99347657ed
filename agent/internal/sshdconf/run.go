package sshdconf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

const (
	maxOutput = 1 << 20
	maxErrors = 2 << 10
)

var errTooLong = errors.New("its output has no end")

// run gives the standard output of a program. The program is killed when ctx ends, at its deadline, and when it
// writes too much.
func run(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	output := &limited{room: maxOutput}
	complaints := &limited{room: maxErrors, drop: true}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdout, cmd.Stderr = output, complaints
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if output.full {
		err = errTooLong
	}
	if err == nil {
		return output.buffer.String(), nil
	}
	if text := strings.Join(strings.Fields(complaints.buffer.String()), " "); text != "" {
		return "", fmt.Errorf("running %s: %w: %s", program, err, text)
	}
	return "", fmt.Errorf("running %s: %w", program, err)
}

// limited keeps so many bytes and then fails, which closes the pipe that the program writes to, or, with drop,
// goes on and keeps no more.
type limited struct {
	buffer bytes.Buffer
	room   int
	drop   bool
	full   bool
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if n := l.room - l.buffer.Len(); len(p) > n {
		l.buffer.Write(p[:n])
		if l.drop {
			return len(p), nil
		}
		l.full = true
		return n, errTooLong
	}
	return l.buffer.Write(p)
}
