package rotation

import "time"

// TestOnlyLeaseTime shortens the lease, which a test would otherwise have to wait for.
func (r *Rotator) TestOnlyLeaseTime(d time.Duration) { r.leaseTime = d }

// TestOnlyPatience sets how long a step without a deadline waits for workers.
func (r *Rotator) TestOnlyPatience(d time.Duration) { r.patience = d }

// Patience is what a Rotator has.
const Patience = patience
