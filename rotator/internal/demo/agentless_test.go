package demo

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient"
)

// A worker whose agent never ran is served by the real rotator through Run Command, and lets the old key in no more.
func TestAWorkerThatNeverHadAnAgentIsServed(t *testing.T) {
	o := fleetOptions(t)
	o.Workers, o.RetireAfter = 2, time.Second
	o.functionEnv = []string{"ROTATESSH_SILENT=push", "ROTATESSH_PUSH_AFTER=1s"}
	f, err := Start(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	w := f.Workers()[1]
	f.stopAgent(w)
	var pairs []keypair.Pair
	for range 2 {
		if _, err := f.Rotate(t.Context()); err != nil {
			log, _ := os.ReadFile(f.rotatorLog())
			t.Fatalf("%v\n%s", err, log)
		}
		pair, err := f.CurrentPair(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, pair)
	}
	time.Sleep(3 * time.Second)
	if _, err := f.server.Invoke(t.Context(), functionName, []byte(`{"source":"aws.events","detail-type":"Scheduled Event"}`)); err != nil {
		t.Fatal(err)
	}
	for i, pair := range pairs {
		if refused, err := sshclient.Refuses(t.Context(), w.Target(), pair.PublicKey().SSH()); err != nil || refused != (i == 0) {
			t.Errorf("key %d is refused: %v, %v", i, refused, err)
		}
	}
	if kept, err := w.foreignKept(f.resources.secretARN); err != nil || !kept {
		t.Errorf("foreign lines are kept: %v, %v", kept, err)
	}
	reports, err := f.ledger.Reports(t.Context(), f.resources.secretARN, 100)
	if err != nil {
		t.Fatal(err)
	}
	marked := map[string]bool{}
	for _, r := range reports {
		for _, p := range r.Pushed {
			marked[r.Phase] = marked[r.Phase] || p.Worker == w.ARN && p.Code == "pushed" && r.Passed
		}
	}
	for _, phase := range []string{"testSecret", "finishSecret", "steady"} {
		if !marked[phase] {
			text, _ := json.Marshal(reports)
			t.Errorf("the report of %s does not mark the worker: %s", phase, text)
		}
	}
	acks, err := f.ledger.Acks(t.Context(), f.resources.secretARN, []string{w.ARN}, time.Now())
	if a := acks[w.ARN]; err != nil || !a.Pushed || a.Users[0].Keys[len(a.Users[0].Keys)-1].Accepted != ledger.No {
		t.Errorf("record is %+v, %v", a, err)
	}
}
