package rotation

import "time"

// TestOnlyLeaseTime shortens the lease, which a test would otherwise have to wait for.
func (r *Rotator) TestOnlyLeaseTime(d time.Duration) { r.leaseTime = d }

// TestOnlyHeadStart shortens the time that workers have before an operator's terms count.
func (r *Rotator) TestOnlyHeadStart(d time.Duration) { r.headStart = d }

// TestOnlyLag shortens the waits for reads that may lag a write.
func (r *Rotator) TestOnlyLag(d time.Duration) { r.lag = d }

// TestOnlyPatience sets how long a step without a deadline waits for workers.
func (r *Rotator) TestOnlyPatience(d time.Duration) { r.patience = d }

// Patience is what a Rotator has.
const Patience = patience
