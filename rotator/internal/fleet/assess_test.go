package fleet_test

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

func key(t *testing.T, n byte) keyset.PublicKey {
	t.Helper()
	public, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(n), 32))).Public())
	if err != nil {
		t.Fatal(err)
	}
	k, err := keyset.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func worker(n int) fleet.Worker {
	id := fmt.Sprintf("i-%017x", n)
	return fleet.Worker{ARN: "arn:aws:ec2:us-east-1:111122223333:instance/" + id, ID: id, Address: "10.0.0.1", Launched: published.Add(-time.Hour)}
}

var published = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// question asks whether key B may follow key A.
func question(t *testing.T) fleet.Question {
	t.Helper()
	a, b := key(t, 'A'), key(t, 'B')
	return fleet.Question{
		Document: keystore.Document{
			ARN: "arn:keyset", VersionID: "version-7",
			Keyset: keyset.Keyset{Generation: 7, Keys: []keyset.Key{{State: keyset.Current, PublicKey: a}, {State: keyset.Pending, PublicKey: b}}},
		},
		Key: b, User: "ec2-user", PublishedAt: published, Grace: 10 * time.Minute, Now: published.Add(time.Minute),
	}
}

// readyAck is the acknowledgement of a worker that is ready in every respect.
func readyAck(t *testing.T, w fleet.Worker) ledger.Ack {
	t.Helper()
	a, b := key(t, 'A').Fingerprint(), key(t, 'B').Fingerprint()
	return ledger.Ack{
		Worker: w.ARN, KeysetARN: "arn:keyset", KeysetVersionID: "version-7", Generation: 7, Outcome: ledger.Applied,
		Port: 22, HostKeys: []string{"ssh-ed25519 AAAA"},
		Users: []ledger.User{{Name: "ec2-user", Fingerprints: []string{a, b}, Keys: []ledger.KeyStatus{
			{Fingerprint: a, State: "current", Accepted: ledger.Yes}, {Fingerprint: b, State: "pending", Accepted: ledger.Yes},
		}}},
	}
}

func TestAssessNamesWhatAWorkerLacks(t *testing.T) {
	for _, c := range []struct {
		name  string
		alter func(*ledger.Ack, *fleet.Question) // of a worker that is ready
		want  string
	}{
		{"everything is there", func(*ledger.Ack, *fleet.Question) {}, ""},
		{"no current key in the keyset", func(a *ledger.Ack, q *fleet.Question) {
			q.Document.Keyset.Keys = q.Document.Keyset.Keys[1:]
			a.Users[0].Fingerprints = a.Users[0].Fingerprints[1:]
		}, ""},
		{"current key is refused already", func(a *ledger.Ack, _ *fleet.Question) { a.Users[0].Keys[0].Accepted = ledger.No }, ""},
		{"follows another keyset", func(a *ledger.Ack, _ *fleet.Question) { a.KeysetARN = "arn:other" }, "other-keyset"},
		{"an earlier generation", func(a *ledger.Ack, _ *fleet.Question) { a.Generation = 6 }, "behind"},
		{"another version of the same generation", func(a *ledger.Ack, _ *fleet.Question) { a.KeysetVersionID = "version-x" }, "behind"},
		{"a later generation", func(a *ledger.Ack, _ *fleet.Question) { a.Generation = 8 }, "ahead"},
		{"failed", func(a *ledger.Ack, _ *fleet.Question) { a.Outcome, a.Code = ledger.Failed, "disk-full" }, "failed:disk-full"},
		{"an outcome of later versions", func(a *ledger.Ack, _ *fleet.Question) { a.Outcome, a.Code = "partly", "x" }, "failed:x"},
		{"one account failed", func(a *ledger.Ack, _ *fleet.Question) { a.Users[0].Code = "not-regular" }, "failed:not-regular"},
		{"no accounts", func(a *ledger.Ack, _ *fleet.Question) { a.Users = nil }, "no-user"},
		{"other accounts only", func(a *ledger.Ack, _ *fleet.Question) { a.Users[0].Name = "root" }, "no-user"},
		{"new key is not in the file", func(a *ledger.Ack, _ *fleet.Question) { a.Users[0].Fingerprints = a.Users[0].Fingerprints[:1] }, "incomplete"},
		{"current key is not in the file", func(a *ledger.Ack, _ *fleet.Question) { a.Users[0].Fingerprints = a.Users[0].Fingerprints[1:] }, "incomplete"},
		{"new key is refused", func(a *ledger.Ack, _ *fleet.Question) { a.Users[0].Keys[1].Accepted = ledger.No }, "refused"},
		{"new key is unverified", func(a *ledger.Ack, _ *fleet.Question) { a.Users[0].Keys[1].Accepted = ledger.Unverified }, "unverified"},
		{"an answer of later versions", func(a *ledger.Ack, _ *fleet.Question) { a.Users[0].Keys[1].Accepted = "perhaps" }, "unverified"},
		{"new key has no answer", func(a *ledger.Ack, _ *fleet.Question) { a.Users[0].Keys = a.Users[0].Keys[:1] }, "unverified"},
		{"second account is behind", func(a *ledger.Ack, _ *fleet.Question) {
			a.Users = append(a.Users, ledger.User{Name: "deploy", Fingerprints: a.Users[0].Fingerprints[:1]})
		}, "incomplete"},
		{"no host keys", func(a *ledger.Ack, _ *fleet.Question) { a.HostKeys = nil }, "no-host-key"},
		{"no port", func(a *ledger.Ack, _ *fleet.Question) { a.Port = 0 }, "no-host-key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, q := worker(1), question(t)
			ack := readyAck(t, w)
			c.alter(&ack, &q)
			r := fleet.Assess([]fleet.Worker{w}, map[string]ledger.Ack{w.ARN: ack}, q)
			want := map[string]int{}
			if c.want != "" {
				want[c.want] = 1
			}
			if diff := cmp.Diff(want, r.Reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			if r.Complete() != (c.want == "") || len(r.Ready) != 1-len(r.Laggards) || r.Expected != 1 {
				t.Errorf("complete %v, %d ready of %d", r.Complete(), len(r.Ready), r.Expected)
			}
			if c.want != "" && (r.Laggards[0].Worker != w.ARN || r.Laggards[0].Code != c.want || r.Laggards[0].Message == "" && !strings.HasPrefix(c.want, "failed:")) {
				t.Errorf("laggard is %+v", r.Laggards[0])
			}
		})
	}
}

func TestSilentWorkersAreExemptOnlyWhileTheyBoot(t *testing.T) {
	for _, c := range []struct {
		name     string
		launched time.Time
		alter    func(*fleet.Question)
		acked    bool
		exempt   bool
	}{
		{"launched before the publication", published.Add(-time.Second), nil, false, false},
		{"launched at the publication", published, nil, false, false},
		{"launched so soon after it that the clocks may err", published.Add(2 * time.Second), nil, false, false},
		{"launched after it", published.Add(3 * time.Second), nil, false, true},
		{"grace is over", published.Add(3 * time.Second), func(q *fleet.Question) { q.Now = published.Add(10*time.Minute + 3*time.Second) }, false, false},
		{"grace is almost over", published.Add(3 * time.Second), func(q *fleet.Question) { q.Now = published.Add(10*time.Minute + 2*time.Second) }, false, true},
		{"no grace", published.Add(3 * time.Second), func(q *fleet.Question) { q.Grace = 0 }, false, false},
		{"time of publication unknown", published.Add(3 * time.Second), func(q *fleet.Question) { q.PublishedAt = time.Time{} }, false, false},
		{"has acknowledged an earlier version", published.Add(3 * time.Second), nil, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, q := worker(1), question(t)
			w.Launched = c.launched
			if c.alter != nil {
				c.alter(&q)
			}
			acks := map[string]ledger.Ack{}
			if c.acked {
				old := readyAck(t, w)
				old.Generation = 6
				acks[w.ARN] = old
			}
			r := fleet.Assess([]fleet.Worker{w}, acks, q)
			if exempt := len(r.Exempt) == 1; exempt != c.exempt || exempt == (r.Expected == 1) || r.Complete() != exempt {
				t.Errorf("exempt %d, expected %d, reasons %v", len(r.Exempt), r.Expected, r.Reasons)
			}
		})
	}
}

func TestAnEmptyFleetIsCompleteAndNobody(t *testing.T) {
	r := fleet.Assess(nil, nil, question(t))
	if !r.Complete() || r.Expected != 0 {
		t.Errorf("nobody is %+v", r)
	}
}

func TestMissingAreAllButTheReady(t *testing.T) {
	workers := []fleet.Worker{worker(1), worker(2), worker(3)}
	workers[2].Launched = published.Add(time.Second)
	r := fleet.Assess(workers, map[string]ledger.Ack{workers[0].ARN: readyAck(t, workers[0])}, question(t))
	if diff := cmp.Diff(workers[1:], r.Missing(workers)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

func TestSummaryCountsAllAndNamesTheFirst(t *testing.T) {
	var workers []fleet.Worker
	acks := map[string]ledger.Ack{}
	for n := range 14 {
		w := worker(n)
		workers = append(workers, w)
		ack := readyAck(t, w)
		switch {
		case n == 0:
		case n < 4:
			ack.Outcome, ack.Code, ack.Message = ledger.Failed, "disk-full", "no space left on device"
		default:
			continue
		}
		acks[w.ARN] = ack
	}
	workers[13].Launched = published.Add(time.Minute)
	got := fleet.Assess(workers, acks, question(t)).Summary()
	for _, want := range []string{
		"1 of 13 workers is ready, 1 still booting; not ready: failed:disk-full 3, silent 9;",
		workers[1].ID + " (failed:disk-full: no space left on device)", workers[10].ID + " (silent: ", " and 2 more",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("summary lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, workers[11].ID) {
		t.Errorf("summary names more than ten:\n%s", got)
	}
	ready := fleet.Assess(workers[:1], acks, question(t)).Summary()
	if ready != "1 of 1 worker is ready" {
		t.Errorf("summary of a ready fleet is %q", ready)
	}
}

func TestWhatAWorkerWritesIsCutShort(t *testing.T) {
	w := worker(1)
	ack := readyAck(t, w)
	ack.Outcome, ack.Code, ack.Message = ledger.Failed, strings.Repeat("c", 10_000), strings.Repeat("m", 10_000)
	r := fleet.Assess([]fleet.Worker{w}, map[string]ledger.Ack{w.ARN: ack}, question(t))
	if n := len(r.Summary()); n > 1000 {
		t.Errorf("one worker makes a summary of %d bytes", n)
	}
}
