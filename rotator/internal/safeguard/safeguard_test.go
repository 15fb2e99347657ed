package safeguard

import "testing"

func TestEverySafeguardIsOn(t *testing.T) {
	for name, on := range map[string]bool{"gate": Gate, "grace": Grace, "lease": Lease, "lockout": Lockout, "orphan": Orphan, "relist": Relist, "removal": Removal, "repair": Repair, "revoke": Revoke, "window": Window} {
		if !on {
			t.Errorf("%s is off", name)
		}
	}
}
