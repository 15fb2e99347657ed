package demo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
)

// Progress is how far the fleet has come.
type Progress struct {
	Stage   string // "rotation 2 of 2: testSecret"
	Done    int    // of Of workers; both are 0 where nothing is counted
	Of      int
	What    string // what is counted: "ready"
	Elapsed time.Duration
}

func (f *Fleet) say(stage string) { f.count(stage, 0, 0, "") }

func (f *Fleet) count(stage string, done, of int, what string) {
	f.progress(Progress{Stage: stage, Done: done, Of: of, What: what, Elapsed: time.Since(f.began)})
}

// counter gives a function that counts one more and says so.
func counter(f *Fleet, stage string, of int, what string) func() {
	var mu sync.Mutex
	n := 0
	f.count(stage, 0, of, what)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		n++
		f.count(stage, n, of, what)
	}
}

// watch sees every call to the AWS endpoint as it is answered. It keeps when keysets were published and
// acknowledged, and turns what it sees into progress.
type watch struct {
	fleet *Fleet

	mu        sync.Mutex
	stage     string
	operation string                         // an operator's, that is under way instead of a rotation
	newest    int64                          // generation
	published map[string]publication         // by the pending key's fingerprint: the first with that key
	acks      map[string]ledger.Ack          // the latest, by worker
	ready     map[int64]map[string]time.Time // first acknowledgement that the pending key is accepted, by generation and worker
	retiring  string                         // fingerprint of the key whose refusal is awaited, or ""
}

type publication struct {
	generation int64
	at         time.Time
}

func newWatch(f *Fleet) *watch {
	w := &watch{fleet: f, published: map[string]publication{}, acks: map[string]ledger.Ack{}, ready: map[int64]map[string]time.Time{}}
	f.server.OnCall(localaws.Fault{Service: "lambda", Action: "Invoke", Before: w.step})
	f.server.OnCall(localaws.Fault{Service: "secretsmanager", Action: "PutSecretValue", After: w.put})
	f.server.OnCall(localaws.Fault{Service: "dynamodb", Action: "PutItem", After: w.item})
	return w
}

// step sees a rotation step begin.
func (w *watch) step(c localaws.Call) error {
	var event struct{ Step string }
	if json.Unmarshal(c.Input, &event) != nil || event.Step == "" {
		return nil // the key-pair secret holds no keyset
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.operation = ""
	w.stage = w.fleet.rotationName() + ": " + event.Step
	w.tellLocked()
	return nil
}

// put sees a keyset being stored.
func (w *watch) put(c localaws.Call) error {
	var in struct{ SecretString string }
	if json.Unmarshal(c.Input, &in) != nil {
		return nil
	}
	k, err := keyset.Parse([]byte(in.SecretString))
	if err != nil {
		return nil // the key-pair secret holds no keyset
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.newest = max(w.newest, k.Generation)
	if pending, found := k.Find(keyset.Pending); found {
		fingerprint := pending.PublicKey.Fingerprint()
		if _, known := w.published[fingerprint]; !known {
			w.published[fingerprint] = publication{generation: k.Generation, at: c.End}
		}
	}
	return nil
}

// item sees an acknowledgement being stored.
func (w *watch) item(c localaws.Call) error {
	var in struct{ Item map[string]json.RawMessage }
	if json.Unmarshal(c.Input, &in) != nil {
		return nil
	}
	var ack ledger.Ack
	if plainItem(in.Item, &ack) != nil || ack.Validate() != nil {
		return nil // the key-pair secret holds no keyset
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acks[ack.Worker] = ack
	if ack.Outcome == ledger.Applied && answer(ack, keyset.Pending, "") == ledger.Yes {
		if w.ready[ack.Generation] == nil {
			w.ready[ack.Generation] = map[string]time.Time{}
		}
		if _, known := w.ready[ack.Generation][ack.Worker]; !known {
			w.ready[ack.Generation][ack.Worker] = c.End
		}
	}
	w.tellLocked()
	return nil
}

// retire changes what is counted: the workers that acknowledged that this key is refused.
func (w *watch) retire(fingerprint string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retiring = fingerprint
	if fingerprint != "" {
		w.stage = cmp.Or(w.operation, w.fleet.rotationName()) + ": retiring the old key"
		w.tellLocked()
	}
}

// begin names what an operator does, whose steps nobody announces.
func (w *watch) begin(operation string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stage, w.operation, w.retiring = operation, operation, ""
}

func (w *watch) tellLocked() {
	if w.stage == "" {
		return
	}
	n, workers := 0, w.fleet.Workers()
	for _, worker := range workers {
		ack := w.acks[worker.ARN] // or none
		if w.retiring != "" && answer(ack, stateRetired, w.retiring) == ledger.No ||
			w.retiring == "" && ack.Outcome == ledger.Applied && ack.Generation >= w.newest {
			n++
		}
	}
	what := "ready"
	if w.retiring != "" {
		what = "refuse it"
	}
	w.fleet.count(w.stage, n, len(workers), what)
}

// timeToReady is the time from the publication of a pending key to the last worker's first acknowledgement
// that its sshd accepts that key; false if not every worker has acknowledged so.
func (w *watch) timeToReady(fingerprint string) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, found := w.published[fingerprint]
	acks := w.ready[p.generation]
	if !found || len(acks) < w.fleet.size() {
		return 0, false
	}
	var last time.Time
	for _, t := range acks {
		if t.After(last) {
			last = t
		}
	}
	return last.Sub(p.at), true
}

// stateRetired is how an acknowledgement marks a key that must be refused.
const stateRetired keyset.State = "retired"

// answer is what sshd said about the key in that state (of that fingerprint, unless it is empty) for the
// account that the demo manages; "" if the acknowledgement says nothing.
func answer(a ledger.Ack, state keyset.State, fingerprint string) ledger.Accepted {
	for _, u := range a.Users {
		for _, k := range u.Keys {
			if k.State == string(state) && (fingerprint == "" || k.Fingerprint == fingerprint) {
				return k.Accepted
			}
		}
	}
	return ""
}

// plainItem reads an item in DynamoDB's JSON, where every value is wrapped in an object that names its
// type, into a struct with json tags.
func plainItem(item map[string]json.RawMessage, into any) error {
	plain, err := plainMap(item)
	if err != nil {
		return err
	}
	data, err := json.Marshal(plain)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func plainMap(in map[string]json.RawMessage) (map[string]any, error) {
	out := make(map[string]any, len(in))
	for name, raw := range in {
		value, err := plainValue(raw)
		if err != nil {
			return nil, err
		}
		out[name] = value
	}
	return out, nil
}

func plainValue(raw json.RawMessage) (any, error) {
	var v struct {
		S    *string
		N    *json.Number
		BOOL *bool
		NULL *bool
		M    map[string]json.RawMessage
		L    []json.RawMessage
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	switch {
	case v.S != nil:
		return *v.S, nil
	case v.N != nil:
		return *v.N, nil
	case v.BOOL != nil:
		return *v.BOOL, nil
	case v.M != nil:
		return plainMap(v.M)
	case v.L != nil:
		list := make([]any, len(v.L))
		for i, raw := range v.L {
			var err error
			if list[i], err = plainValue(raw); err != nil {
				return nil, err
			}
		}
		return list, nil
	case v.NULL != nil:
		return nil, nil
	}
	return nil, fmt.Errorf("value %.40q is of an unknown type", raw)
}
