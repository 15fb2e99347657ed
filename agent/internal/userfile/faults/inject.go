package faults

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// An Injection makes one system call fail.
type Injection struct {
	Call   string // its name
	Result string // an error's name, or "retval=N" for a success that did nothing
	On     string // matches the call in strace's record
	Folder bool   // leave out of account what has nothing to do with .ssh or a name in it
}

// What injections aim at.
const (
	regexpTemp   = `\.rotatessh-tmp-`
	regexpFolder = `^fsync\(\d+</[^>]*/\.ssh>\)`
)

// A Trace says how the program under test is to be run under strace.
type Trace struct {
	program string
	options []string
}

// trace makes one whose record goes to a file of the site; -y names each descriptor's path. When is which of its thread's calls fails; 0
// for none.
func (in *Injection) trace(s *Site, when int) (*Trace, error) {
	program, err := exec.LookPath("strace")
	if err != nil {
		return nil, fmt.Errorf("%w: needs strace", ErrNotRun)
	}
	options := []string{"-qq", "-y", "-s", "64", "-o", recordFile(s), "-e", "trace=" + in.Call, "-e", "signal=none"}
	if in.Folder {
		options = append(options, "-P", s.Folder)
	}
	if when > 0 {
		options = append(options, "-e", "inject="+in.expression(when))
	}
	return &Trace{program, options}, nil
}

// Wrap is what the program's command line is to begin with.
func (t *Trace) Wrap() []string {
	return slices.Concat([]string{t.program, "-f"}, t.options, []string{"--"})
}

// Attach is a command that traces threads of a running program, and neither threads nor processes that they start. Calls count from
// when it has attached.
func (t *Trace) Attach(threads []string) []string {
	return slices.Concat([]string{t.program}, t.options, []string{"-p", strings.Join(threads, ",")})
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

// hit reports whether the first call that failed is the one that was meant, and whether it was the only one: each thread has its own
// count. An injected call may be recorded in two parts.
func (in *Injection) hit(calls []call) (first, alone bool) {
	aim := regexp.MustCompile(in.On)
	begun := map[string]string{}
	injected := 0
	for _, c := range calls {
		if strings.HasPrefix(c.text, in.Call+"(") {
			begun[c.thread] = c.text
		}
		if c.injected {
			injected++
			first = first || injected == 1 && aim.MatchString(begun[c.thread])
		}
	}
	return first, injected == 1
}

func (in *Injection) expression(when int) string {
	result := in.Result
	if !strings.Contains(result, "=") {
		result = "error=" + result
	}
	return fmt.Sprintf("%s:%s:when=%d", in.Call, result, when)
}

func recordFile(s *Site) string { return filepath.Join(s.Dir, "record") }
