package push

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Outcome says what a push came to on one worker.
type Outcome string

// The outcomes.
const (
	Applied   Outcome = "applied"   // the file was replaced
	Unchanged Outcome = "unchanged" // the file was right before
	Nudged    Outcome = "nudged"    // there is an agent, which has been woken; the file was not touched
	Failed    Outcome = "failed"    // nothing was changed; see Code and Message
)

// Result is what became of a push on one worker, as that worker tells: its text is not to be trusted, but
// bounded.
type Result struct {
	Outcome       Outcome
	Code, Message string   // of a failure
	File          string   // the path of authorized_keys
	Held          []string // fingerprints of the document's keys that stand in the block, read back
	Gone          []string // fingerprints of its retired keys that stand nowhere in the file
	Port          int      // of sshd
	HostKeys      []string // public keys that sshd serves, "algorithm base64"
}

const (
	linePrefix  = "rotatessh-push/1 "
	maxHostKeys = 16
	maxText     = 300
)

// failure is a Result of our own making.
func failure(code, format string, args ...any) Result {
	return Result{Outcome: Failed, Code: code, Message: clip(fmt.Sprintf(format, args...))}
}

// parse reads what the script printed.
func (d Document) parse(stdout string) Result {
	fields := map[string]string{}
	for line := range strings.Lines(stdout) {
		if rest, ok := strings.CutPrefix(line, linePrefix); ok {
			for field := range strings.FieldsSeq(rest) {
				name, value, _ := strings.Cut(field, "=")
				fields[name] = value
			}
		}
	}
	switch Outcome(fields["outcome"]) {
	case Failed:
		return failure(clip(fields["code"]), "%s", decoded(fields["text"]))
	case Nudged:
		return Result{Outcome: Nudged}
	case Applied, Unchanged:
		return d.applied(fields)
	}
	return failure("no-answer", "the script did not tell how it ended")
}

func (d Document) applied(fields map[string]string) Result {
	if fields["version"] != d.versionID {
		return failure("no-answer", "the script speaks of version %.64s", fields["version"])
	}
	r := Result{Outcome: Outcome(fields["outcome"]), File: clip(decoded(fields["file"]))}
	for i, k := range d.keys {
		if listed(fields["holds"], i) {
			r.Held = append(r.Held, k.Fingerprint())
		}
	}
	for i, k := range d.retired {
		if listed(fields["gone"], i) {
			r.Gone = append(r.Gone, k.Fingerprint())
		}
	}
	r.Port, _ = strconv.Atoi(fields["port"])
	if r.Port < 1 || r.Port > 65535 {
		return failure("no-answer", "sshd's port is %.10q", fields["port"])
	}
	for key := range strings.SplitSeq(fields["hostkeys"], ",") {
		algorithm, blob, found := strings.Cut(key, ":")
		if found && len(r.HostKeys) < maxHostKeys {
			r.HostKeys = append(r.HostKeys, algorithm+" "+blob)
		}
	}
	if len(r.Held) < len(d.keys) {
		return failure("incomplete", "the file lacks keys although it was written")
	}
	return r
}

// listed looks for the i-th thing, counted from 1, in a list of numbers.
func listed(numbers string, i int) bool {
	return slices.Contains(strings.Split(numbers, ","), strconv.Itoa(i+1))
}

func decoded(text string) string {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(raw)
}

func clip(s string) string { return s[:min(len(s), maxText)] }
