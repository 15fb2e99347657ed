package faults

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// An Injection makes one system call fail.
type Injection struct {
	Call   string // its name
	Result string // an error's name, or "retval=N" for a success that did nothing
	On     string // matches the call in strace's record
}

// What injections aim at.
const (
	regexpTemp   = `\.rotatessh-tmp-`
	regexpFolder = `^fsync\(\d+</[^>]*/\.ssh>\)`
)

// strace is the command in front of the program under test. The record goes to a file, and -y names each descriptor's path.
func strace(record, call, inject string) ([]string, error) {
	program, err := exec.LookPath("strace")
	if err != nil {
		return nil, fmt.Errorf("%w: needs strace", ErrNotRun)
	}
	wrap := []string{program, "-f", "-qq", "-y", "-s", "64", "-o", record, "-e", "trace=" + call, "-e", "signal=none"}
	if inject != "" {
		wrap = append(wrap, "-e", "inject="+inject)
	}
	return append(wrap, "--"), nil
}

// A call is a line of a record.
type call struct {
	thread   string
	text     string
	injected bool
}

func readRecord(file string) ([]call, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var calls []call
	for line := range bytes.Lines(text) {
		thread, rest, ok := strings.Cut(strings.TrimSpace(string(line)), " ")
		rest = strings.TrimSpace(rest)
		// A call that another thread's interrupts is recorded twice; its beginning has all that matters but the injection.
		if ok && !strings.HasPrefix(rest, "+++") && !strings.HasPrefix(rest, "---") {
			calls = append(calls, call{thread, rest, strings.Contains(rest, "(INJECTED)")})
		}
	}
	return calls, nil
}

// count returns how many calls of its thread there are up to the first that the injection aims at; 0 for none.
func (in *Injection) count(calls []call) int {
	aim := regexp.MustCompile(in.On)
	seen := map[string]int{}
	for _, c := range calls {
		if !strings.HasPrefix(c.text, in.Call+"(") {
			continue
		}
		seen[c.thread]++
		if aim.MatchString(c.text) {
			return seen[c.thread]
		}
	}
	return 0
}

// hit reports whether the call that failed is the one that was meant. A thread's injected call may be recorded in two parts.
func (in *Injection) hit(calls []call) bool {
	aim := regexp.MustCompile(in.On)
	begun := map[string]string{}
	for _, c := range calls {
		if strings.HasPrefix(c.text, in.Call+"(") {
			begun[c.thread] = c.text
		}
		if c.injected {
			return aim.MatchString(begun[c.thread])
		}
	}
	return false
}

func (in *Injection) expression(when int) string {
	result := in.Result
	if !strings.Contains(result, "=") {
		result = "error=" + result
	}
	return fmt.Sprintf("%s:%s:when=%d", in.Call, result, when)
}

func recordFile(s *Site) string { return filepath.Join(s.Dir, "record") }
