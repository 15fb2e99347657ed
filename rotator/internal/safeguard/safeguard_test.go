package safeguard

import "testing"

func TestEverySafeguardIsOn(t *testing.T) {
	for name, on := range map[string]bool{"gate": Gate, "lease": Lease, "orphan": Orphan, "repair": Repair} {
		if !on {
			t.Errorf("%s is off", name)
		}
	}
}
