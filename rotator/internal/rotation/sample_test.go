package rotation

import (
	"fmt"
	"testing"

	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
)

// readyFleet has one worker for each entry, which is its zone and its sshd's settings.
func readyFleet(of ...[2]string) fleet.Readiness {
	r := fleet.Readiness{Findings: fleet.Findings{}}
	for i, w := range of {
		arn := fmt.Sprint(i)
		r.Ready = append(r.Ready, fleet.Worker{ARN: arn, Zone: w[0]})
		r.Findings[arn] = fleet.Finding{Settings: w[1]}
	}
	return r
}

func TestSampleHasEachKindOfSettingsAndThenEachZone(t *testing.T) {
	var usual [][2]string
	for range 50 {
		usual = append(usual, [2]string{"a", "usual"})
	}
	for _, c := range []struct {
		name         string
		odd          [][2]string
		n            int
		want         int
		zones, kinds int
	}{
		{"all alike", nil, 3, 3, 1, 1},
		{"three kinds", [][2]string{{"a", "x"}, {"a", "y"}}, 3, 3, 1, 3},
		{"more kinds than asked for", [][2]string{{"a", "x"}, {"a", "y"}, {"a", "z"}}, 2, 4, 1, 4},
		{"three zones", [][2]string{{"b", "usual"}, {"c", "usual"}}, 3, 3, 3, 1},
		{"kinds come before zones", [][2]string{{"b", "usual"}, {"a", "x"}}, 2, 2, 0, 2},
		{"everybody", [][2]string{{"b", "x"}}, 60, 51, 2, 2},
	} {
		for range 20 { // whom it takes otherwise is left to chance
			ready := readyFleet(append(usual[:50:50], c.odd...)...)
			zones, kinds, whom := map[string]bool{}, map[string]bool{}, map[string]bool{}
			for _, w := range pick(ready, c.n) {
				zones[w.Zone], kinds[ready.Findings[w.ARN].Settings], whom[w.ARN] = true, true, true
			}
			if len(whom) != c.want || c.zones > 0 && len(zones) != c.zones || len(kinds) != c.kinds {
				t.Fatalf("%s: %d workers of %d zones and %d kinds", c.name, len(whom), len(zones), len(kinds))
			}
		}
	}
}

func TestSampleIsBoundedWhereEachMachineIsOfItsOwnKind(t *testing.T) {
	var of [][2]string
	for i := range 3 * maxKinds {
		of = append(of, [2]string{"a", fmt.Sprint(i)})
	}
	if n := len(pick(readyFleet(of...), 10)); n != maxKinds {
		t.Errorf("%d workers", n)
	}
}
