package rotation

import (
	"fmt"
	"time"

	"github.com/rotatessh/rotatessh/rotator/internal/operator"
	"github.com/rotatessh/rotatessh/rotator/internal/safeguard"
)

// headStart is how long workers have, from the publication of a key, before an operator's terms count. Agents
// poll once in 72 seconds at the latest, and one that is only late is not to be given up.
const headStart = 2 * time.Minute

// pushTime is how long pushing to workers without an agent may take, which have to be served as well before they
// are given up.
const pushTime = time.Minute

// terms are what an operator accepts of a switch that the policy would refuse. The zero value is nothing.
type terms struct {
	asked   bool
	force   bool
	revoke  bool
	lockout int // of a revocation: the exact number of workers that may be lost
}

func termsOf(asked *operator.Request) terms {
	if asked == nil {
		return terms{}
	}
	return terms{asked: true, force: asked.Force, revoke: asked.Request == operator.Revoke, lockout: asked.AcceptLockout}
}

// deadline is when the gate stops waiting for workers: a compromised key is not to be used any longer than
// it takes to know who follows, and whoever forces a switch has waited before. It leaves half of the time
// that the function has for what comes after.
func (t terms) deadline(r *Rotator, s state, latest time.Time) (time.Time, error) {
	if !t.revoke && !t.force {
		return latest, nil
	}
	now, err := r.now()
	if err != nil {
		return latest, err
	}
	start := r.headStart
	if r.Pusher != nil {
		start = max(start, r.Policy.PushAfter+pushTime)
	}
	left := min(time.Until(latest)/2, s.beacon.PublishedAt.Add(start).Sub(now))
	return time.Now().Add(left), nil
}

// lost is how many workers would lose access by a switch now. A waiver does not change that.
func (g *gate) lost() int { return len(g.ready.Laggards) + len(g.ready.Waived) }

// accepted says what is still in the way of a gate that is closed, now that waiting is over.
func (g *gate) accepted(closed error) error {
	t := g.terms
	switch {
	case !t.asked:
		return closed
	case t.revoke && safeguard.Lockout && g.lost() != t.lockout:
		return fmt.Errorf("%w; %d were accepted as lost: bring workers back and ask again, or ask with --accept-lockout=%d", closed, t.lockout, g.lost())
	case t.force:
		return nil
	case t.revoke:
		closed = g.insane()
		if closed == nil {
			return nil
		}
	}
	return fmt.Errorf("%w; --force switches all the same, and the controller loses every worker that is not ready", closed)
}
