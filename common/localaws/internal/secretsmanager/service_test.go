package secretsmanager

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/zap/zaptest"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

const lambdaARN = "arn:aws:lambda:us-east-1:111122223333:function:RotateSSH"

// bench is a service with a rotation function that the test supplies.
type bench struct {
	*Service
	t *testing.T

	mu     sync.Mutex
	events []Event
	steps  []stepEvent
}

// newBench makes a service whose rotation function is step; nil succeeds at everything.
func newBench(t *testing.T, step func(b *bench, e stepEvent) error, change func(*Deps)) *bench {
	b := &bench{t: t}
	d := Deps{Region: "us-east-1", Account: "111122223333", Log: zaptest.NewLogger(t),
		FunctionExists: func(arn string) bool { return arn == lambdaARN },
		Emit:           b.emit, RetryAfter: time.Minute, KeepVersions: 24 * time.Hour}
	d.Invoke = func(_ context.Context, _ string, payload []byte) error {
		var e stepEvent
		if err := json.Unmarshal(payload, &e); err != nil {
			return err
		}
		b.mu.Lock()
		b.steps = append(b.steps, e)
		b.mu.Unlock()
		if step == nil {
			return nil
		}
		return step(b, e)
	}
	if change != nil {
		change(&d)
	}
	b.Service = New(d)
	t.Cleanup(b.Close)
	return b
}

func (b *bench) emit(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
}

// labelEvents lists the label events so far as "label version".
func (b *bench) labelEvents() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, e := range b.events {
		if e.DetailType == "Secret Label Updated" {
			d := e.Detail.(map[string]string)
			out = append(out, d["labelUpdated"]+" "+short(d["versionId"]))
		}
	}
	return out
}

func (b *bench) serviceEvents() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, e := range b.events {
		if e.DetailType != "Secret Label Updated" {
			out = append(out, e.Detail.(map[string]any)["eventName"].(string))
		}
	}
	return out
}

func (b *bench) allSteps() []stepEvent {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.steps)
}

func (b *bench) stepNames() []string {
	var out []string
	for _, e := range b.allSteps() {
		out = append(out, e.Step)
	}
	return out
}

type object = map[string]any

// do makes one call and returns its answer as a JSON object.
func (b *bench) do(action string, in object) (object, error) {
	b.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		b.t.Fatal(err)
	}
	r := &wire.Request{Service: "secretsmanager", Action: action, Protocol: wire.JSON11, Body: body, Account: "111122223333"}
	out, err := b.Handle(context.Background(), r)
	if err != nil {
		return nil, err
	}
	doc := object{}
	raw, err := json.Marshal(out)
	if err == nil {
		err = json.Unmarshal(raw, &doc)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return doc, nil
}

func (b *bench) must(action string, in object) object {
	b.t.Helper()
	out, err := b.do(action, in)
	if err != nil {
		b.t.Fatalf("%s: %v", action, err)
	}
	return out
}

// refuse makes a call that must fail with code, and returns the message.
func (b *bench) refuse(code, action string, in object) string {
	b.t.Helper()
	_, err := b.do(action, in)
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != code {
		b.t.Fatalf("%s answered %v, want %s", action, err, code)
	}
	return e.Message
}

// token makes a version id that short can turn back into its name.
func token(name string) string { return name + strings.Repeat("-", 36-len(name)) }

func short(token string) string { return strings.TrimRight(token, "-") }

// secret creates s with the value "1" under token("v1").
func (b *bench) secret() {
	b.t.Helper()
	b.must("CreateSecret", object{"Name": "s", "SecretString": "1", "ClientRequestToken": token("v1")})
}

func (b *bench) put(name, value string, stages ...string) {
	b.t.Helper()
	in := object{"SecretId": "s", "SecretString": value, "ClientRequestToken": token(name)}
	if len(stages) > 0 {
		in["VersionStages"] = stages
	}
	b.must("PutSecretValue", in)
}

// labels returns the labels of s by the short name of their version.
func (b *bench) labels() map[string][]string {
	b.t.Helper()
	out := map[string][]string{}
	for id, stages := range b.must("DescribeSecret", object{"SecretId": "s"})["VersionIdsToStages"].(object) {
		for _, s := range stages.([]any) {
			out[short(id)] = append(out[short(id)], s.(string))
		}
	}
	return out
}

func (b *bench) wantLabels(want map[string][]string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.labels(), cmpopts.SortSlices(strings.Compare)); diff != "" {
		b.t.Errorf("labels (-want +got):\n%s", diff)
	}
}
