package rotation

import "time"

// TestOnlyLeaseTime shortens the lease, which a test would otherwise have to wait for.
func (r *Rotator) TestOnlyLeaseTime(d time.Duration) { r.leaseTime = d }
