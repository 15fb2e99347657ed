package safeguard

import "testing"

func TestEverySafeguardIsOn(t *testing.T) {
	for name, on := range map[string]bool{"gate": Gate, "grace": Grace, "lease": Lease, "orphan": Orphan, "relist": Relist, "repair": Repair} {
		if !on {
			t.Errorf("%s is off", name)
		}
	}
}
