package imds

import (
	"sync"
	"time"
)

// renewFraction is the part of their life at whose end credentials are renewed; EC2 renews six hours' ones well before the end.
const renewFraction = 12

// roleCredentials keeps the present credentials.
type roleCredentials struct {
	issue   func() Credentials
	mu      sync.Mutex
	current Credentials
}

func (r *roleCredentials) get(now time.Time) Credentials {
	r.mu.Lock()
	defer r.mu.Unlock()
	life := r.current.Expires.Sub(r.current.Issued)
	if !now.Before(r.current.Expires.Add(-life / renewFraction)) {
		r.current = r.issue()
	}
	return r.current
}
