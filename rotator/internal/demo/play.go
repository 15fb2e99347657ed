package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

// play is one run of a scenario.
type play struct {
	*Fleet
	controllers *Observation
	givenUp     []keypair.Pair // keys that never became current

	listener func(Line)
	mu       sync.Mutex
	last     Progress // the last that was told
}

func (p *play) tell(format string, args ...any) {
	p.listener(Line{Elapsed: time.Since(p.began), Text: fmt.Sprintf(format, args...)})
}

// progress tells of each stage and each count once.
func (p *play) progress(now Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Stage == p.last.Stage && now.Done == p.last.Done && now.Of == p.last.Of {
		return
	}
	p.last = now
	text := now.Stage
	if now.Of > 0 {
		text = fmt.Sprintf("%s, %d/%d %s", now.Stage, now.Done, now.Of, now.What)
	}
	p.listener(Line{Elapsed: now.Elapsed, Text: text})
}

// outOfUse are all pairs that are not to be accepted any more once current is the only one.
func (p *play) outOfUse(current keypair.Pair) []keypair.Pair {
	p.Fleet.mu.Lock()
	defer p.Fleet.mu.Unlock()
	return slices.DeleteFunc(slices.Concat(p.pairs, p.givenUp), func(pair keypair.Pair) bool { return pair.PublicKey() == current.PublicKey() })
}

// short is enough of a fingerprint for a person to tell a few keys apart.
func short(pair keypair.Pair) string {
	const shown = len("SHA256:") + 8
	return pair.Fingerprint()[:shown] + "…"
}

// rotatessh is try for a command that must succeed.
func (p *play) rotatessh(ctx context.Context, args ...string) error {
	out, err := p.try(ctx, args...)
	if err == nil && out.status != 0 {
		err = fmt.Errorf("rotatessh %s: exit status %d: %s", args[0], out.status, out.stderr)
	}
	return err
}

// try runs the operator's command and tells what was typed and what came of it.
func (p *play) try(ctx context.Context, args ...string) (output, error) {
	typed := make([]string, len(args))
	for i, arg := range args {
		typed[i] = arg
		if strings.ContainsAny(arg, " '") {
			typed[i] = fmt.Sprintf("%q", arg)
		}
	}
	p.tell("$ rotatessh %s", strings.Join(typed, " "))
	out, err := p.command(ctx, args...)
	if err != nil {
		return output{}, err
	}
	for _, text := range []string{out.stderr, out.stdout} {
		for line := range strings.Lines(text) {
			p.listener(Line{Elapsed: time.Since(p.began), Text: strings.TrimRight(line, "\n"), Quoted: true})
		}
	}
	return out, nil
}

// ask runs one of the operator's commands that print JSON, unseen.
func (p *play) ask(ctx context.Context, into any, args ...string) error {
	out, err := p.command(ctx, append(args, "--json")...)
	if err != nil {
		return err
	}
	if out.status != 0 {
		return fmt.Errorf("rotatessh %s: exit status %d: %s", args[0], out.status, out.stderr)
	}
	if err := json.Unmarshal([]byte(out.stdout), into); err != nil {
		return fmt.Errorf("reading the output of rotatessh %s: %w", args[0], err)
	}
	return nil
}

// history is what the command's report prints.
type history struct{ Reports []ledger.Report }

// find gives the newest report of a phase about a version.
func (h history) find(phase, versionID string) (ledger.Report, bool) {
	for _, r := range h.Reports {
		if r.Phase == phase && r.VersionID == versionID {
			return r, true
		}
	}
	return ledger.Report{}, false
}

// stepCall is one invocation of the rotator for a step.
type stepCall struct {
	at      time.Time // of the answer
	took    time.Duration
	failed  bool
	message string // why
	timeout bool   // Lambda ended it
}

// steps are the invocations for one step of the rotation to a version that have been answered, oldest first.
func (p *play) steps(step, versionID string) []stepCall {
	var found []stepCall
	for _, c := range p.server.Calls() {
		var event struct{ Step, ClientRequestToken string }
		if c.Service != "lambda" || json.Unmarshal(c.Input, &event) != nil || event.Step != step || event.ClientRequestToken != versionID {
			continue
		}
		var answer struct{ ErrorMessage, ErrorType string }
		_ = json.Unmarshal(c.Output, &answer) // a step that passed answers null
		found = append(found, stepCall{at: c.End, took: c.End.Sub(c.Start), failed: c.ErrorCode != "", message: strings.TrimPrefix(answer.ErrorMessage, step+": "), timeout: answer.ErrorType == "Sandbox.Timedout"})
	}
	return found
}

// switched is when AWSCURRENT moved to a version, as the AWS endpoint saw it, not before since. The answer may
// have got lost.
func (p *play) switched(versionID string, since time.Time) (time.Time, bool) {
	for _, c := range p.server.Calls() {
		if c.End.After(since) && movesCurrent(c, p.resources.secretARN, versionID) && (c.ErrorCode == "" || c.ErrorCode == "dropped") {
			return c.End, true
		}
	}
	return time.Time{}, false
}

// movesCurrent reports whether a call asks for AWSCURRENT to move to a version, or to any if that is empty.
func movesCurrent(c localaws.Call, secretARN, versionID string) bool {
	var in struct{ SecretID, VersionStage, MoveToVersionID string }
	return c.Service == "secretsmanager" && c.Action == "UpdateSecretVersionStage" && json.Unmarshal(c.Input, &in) == nil &&
		in.SecretID == secretARN && in.VersionStage == labelCurrent && in.MoveToVersionID != "" && (versionID == "" || versionID == in.MoveToVersionID)
}

// holder is the version of the key-pair secret that a label marks, or "".
func (p *play) holder(ctx context.Context, label string) (string, error) {
	out, err := p.aws.secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: aws.String(secretName)})
	if err != nil {
		return "", fmt.Errorf("reading labels: %w", err)
	}
	for version, labels := range out.VersionIdsToStages {
		if slices.Contains(labels, label) {
			return version, nil
		}
	}
	return "", nil
}

// awaitFailed waits until a step has failed. It gives false if AWSCURRENT moves to the version instead.
func (p *play) awaitFailed(ctx context.Context, step, versionID string) (call stepCall, failed bool, err error) {
	began := time.Now()
	ctx, cancel := p.bound(ctx)
	defer cancel()
	err = until(ctx, func() (bool, error) {
		for _, call = range p.steps(step, versionID) {
			if call.failed {
				failed = true
				return true, nil
			}
		}
		_, moved := p.switched(versionID, began)
		return moved, nil
	})
	if err != nil {
		err = fmt.Errorf("waiting for %s to fail: %w", step, err)
	}
	return call, failed, err
}

// await waits until something that is named has come.
func (p *play) await(ctx context.Context, what string, ask func() (bool, error)) error {
	ctx, cancel := p.bound(ctx)
	defer cancel()
	if err := until(ctx, ask); err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}

// named reads from the rotator's report whom a testSecret that failed was waiting for, and why.
func (p *play) named(ctx context.Context, version string) (workers []string, codes map[string]int, err error) {
	var h history
	err = p.ask(ctx, &h, "report")
	report, _ := h.find("testSecret", version)
	return instances(report.Laggards), report.Reasons, err
}

// instances are the ids of the workers of a report.
func instances(of []ledger.Laggard) []string {
	ids := []string{}
	for _, l := range of {
		ids = append(ids, ledger.InstanceID(l.Worker))
	}
	slices.Sort(ids)
	return ids
}

// awaitSteady stands for the five minutes after which the rotator's schedule comes round: it sends the event at
// once, and again until the rotator has recorded that the fleet refuses what was replaced last.
func (p *play) awaitSteady(ctx context.Context, versionID string) (ledger.Report, error) {
	ctx, cancel := p.bound(ctx)
	defer cancel()
	var steady ledger.Report
	err := until(ctx, func() (found bool, err error) {
		if err := p.scheduled(ctx); err != nil {
			return false, err
		}
		var h history
		if err := p.ask(ctx, &h, "report"); err != nil {
			return false, err
		}
		steady, found = h.find("steady", versionID)
		return found && steady.Passed, nil
	})
	if err != nil {
		return steady, fmt.Errorf("waiting for the rotator to record that the old key is refused: %w", err)
	}
	return steady, nil
}

// scheduled sends the event of the rotator's schedule.
func (p *play) scheduled(ctx context.Context) error {
	_, err := p.server.Invoke(ctx, functionName, []byte(`{"source":"aws.events","detail-type":"Scheduled Event","resources":[],"detail":{}}`))
	return err
}
