package report

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// The ways in which following a rotation ends badly.
var (
	// ErrFailing says that a step has failed. AWS repeats it, so that the rotation may yet succeed.
	ErrFailing = errors.New("the rotation is failing")
	// ErrGivenUp says that the rotation's version lost AWSPENDING without becoming AWSCURRENT.
	ErrGivenUp = errors.New("the rotation was given up: its version is neither pending nor current any more")
	// ErrNothing says that there is nothing to follow.
	ErrNothing = errors.New("nothing has been published yet and no rotation is pending")
)

// Steady reports whether nothing of a rotation is left to do: no key is pending, the old one's time is over, and
// each worker that counts has acknowledged that it is ready for the current key and refuses the old one.
func (r Report) Steady() bool {
	return r.Rotation.State == Idle && r.Keyset != nil && r.Keyset.Phase == keyset.PhaseSteady &&
		r.Summary.Ready == r.Summary.Expected && len(r.unrefused()) == 0
}

// unrefused are the workers that count and have not proved that they refuse the old key, once its time is over.
func (r Report) unrefused() (workers []Worker) {
	for _, w := range r.Workers {
		counts := !w.Waived && w.State != Booting
		if counts && (w.OldKeyRefused == RefusedNo || w.OldKeyRefused == RefusedUnknown) {
			workers = append(workers, w)
		}
	}
	return workers
}

// Stage says in one line what the rotation is at, as far as it shows from outside. It has no running clock in it:
// equal lines mean that nothing has changed.
func (r Report) Stage() string {
	s := r.Summary
	ready := plural.Share(s.Ready, s.Expected, "worker") + " ready" + r.reasons()
	switch {
	case r.Rotation.State != Idle && (r.Keyset == nil || r.Keyset.Phase != keyset.PhasePending):
		return "making the new key pair"
	case r.Rotation.State != Idle && s.Ready < s.Expected:
		return "waiting for workers to accept the new key: " + ready
	case r.Rotation.State != Idle:
		return "trying the new key: " + ready
	case r.Keyset == nil:
		return ErrNothing.Error()
	case r.Keyset.Phase == keyset.PhasePending:
		return "no rotation is pending any more, the keyset has yet to say so: " + ready
	case r.Keyset.Phase == keyset.PhaseRetiring && r.OldKey != nil:
		return fmt.Sprintf("%s is accepted until %s: %s", r.leaving(), r.OldKey.NotAfter.UTC().Format("15:04:05Z"), ready)
	case r.Steady() && r.OldKey != nil:
		return fmt.Sprintf("steady: %s, %d %s the old key", ready, s.OldKeyRefused, plural.Verb(s.OldKeyRefused, "refuses", "refuse"))
	case r.Steady():
		return "steady: " + ready
	case len(r.unrefused()) > 0:
		return fmt.Sprintf("waiting for workers to refuse the old key: %d %s, %d not yet; %s", s.OldKeyRefused, plural.Verb(s.OldKeyRefused, "does", "do"), len(r.unrefused()), ready)
	}
	return "waiting for workers to follow the keyset: " + ready
}

// leaving tells a key that was replaced from one that never came into use.
func (r Report) leaving() string {
	if r.OldKey.VersionID == r.Secret.Holder(LabelPrevious) {
		return "the switch is made, the key before it"
	}
	return "no rotation is pending, a key that was given up"
}

// reasons counts those that are not ready, waived ones too.
func (r Report) reasons() string {
	var text strings.Builder
	for _, s := range r.States() {
		if !s.Ready {
			fmt.Fprintf(&text, ", %d %s", s.Workers, Printable(s.State))
		}
	}
	return text.String()
}

// patience is how many looks in a row must find a version without its label before it counts as given up: labels
// are read with a lag.
const patience = 3

// Follower follows rotations to the end of the last one. The zero value is ready for use.
type Follower struct {
	KeepGoing bool // over failed steps
	pending   string
	gone      int
}

// Next takes in what was seen last. It is done when the state is steady, and an error wraps the Err… that ended
// it: then there is nothing more to follow either.
func (f *Follower) Next(r Report) (done bool, err error) {
	switch {
	case r.Rotation.State == Failing && !f.KeepGoing:
		return true, fmt.Errorf("%w: %s", ErrFailing, Printable(r.Rotation.Message))
	case r.Rotation.State != Idle:
		f.pending, f.gone = r.Rotation.VersionID, 0
		return false, nil
	case r.Keyset == nil && f.pending == "":
		return true, ErrNothing
	case f.pending != "" && r.Secret.Holder(LabelCurrent) != f.pending:
		f.gone++
		if f.gone < patience {
			return false, nil
		}
		return true, ErrGivenUp
	}
	return r.Steady(), nil
}
