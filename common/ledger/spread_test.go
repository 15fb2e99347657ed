package ledger_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/ledger"
)

var spreadFrom = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// after gives a time for each number of seconds.
func after(seconds ...float64) (at []time.Time) {
	for _, s := range seconds {
		at = append(at, spreadFrom.Add(time.Duration(s*float64(time.Second))))
	}
	return at
}

func TestSpreadOfASmallFleetHoldsEveryWorker(t *testing.T) {
	got := ledger.NewSpread(spreadFrom, 5, after(3, -1, 0.5004))
	want := ledger.Spread{From: spreadFrom, Of: 5, Done: 3, Seconds: []float64{0, 0.5, 3}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(ledger.Spread{From: spreadFrom, Seconds: []float64{}}, ledger.NewSpread(spreadFrom, 0, nil)); diff != "" {
		t.Errorf("nobody (-want +got):\n%s", diff)
	}
}

// TestPercentilesAreOfTheNearestRank compares with the definition, worker by worker.
func TestPercentilesAreOfTheNearestRank(t *testing.T) {
	for _, of := range []int{1, 2, 3, 10, 99, 100, 101, 150, 1000, 10_007} {
		for _, done := range []int{0, 1, of / 2, of - 1, of} {
			var at []time.Time
			for i := range done {
				at = append(at, spreadFrom.Add(time.Duration(i*i)*time.Millisecond))
			}
			slices.Reverse(at)
			s := ledger.NewSpread(spreadFrom, of, at)
			for _, p := range []int{1, 50, 99, 100} {
				rank := (of*p + 99) / 100
				want := fmt.Sprint(time.Duration((rank-1)*(rank-1))*time.Millisecond, true)
				if rank > done {
					want = fmt.Sprint(time.Duration(0), false)
				}
				if got := fmt.Sprint(s.Percentile(p)); got != want {
					t.Errorf("p%d of %d, of whom %d have: %s, want %s", p, of, done, got, want)
				}
			}
			if len(s.Seconds) > 100 {
				t.Errorf("%d points", len(s.Seconds))
			}
		}
	}
	if _, known := (ledger.Spread{}).Percentile(50); known {
		t.Error("nobody has a median")
	}
}

func TestAReportKeepsItsSpread(t *testing.T) {
	client := ledger.New(newTable(t), table)
	r := ledger.Report{SecretARN: "s", Generation: 1, Phase: "testSecret", At: spreadFrom, Reasons: map[string]int{}}
	spread := ledger.NewSpread(spreadFrom, 2, after(1.25))
	r.Spread = &spread
	if err := client.PutReport(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	got, err := client.Reports(t.Context(), "s", 1)
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if diff := cmp.Diff(&spread, got[0].Spread); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
