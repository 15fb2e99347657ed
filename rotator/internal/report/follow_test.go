package report

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// TestARotationIsFollowedToItsEnd goes through a whole one.
func TestARotationIsFollowedToItsEnd(t *testing.T) {
	e := newEstate(t, 2)
	var f Follower
	stage := func(want string, done bool) {
		t.Helper()
		r := New(e.Facts)
		got, err := f.Next(r)
		if got != done || err != nil {
			t.Errorf("at %q: done %v, %v", r.Stage(), got, err)
		}
		if r.Stage() != want {
			t.Errorf("%q, want %q", r.Stage(), want)
		}
	}
	e.Document.Keyset.Keys = e.Document.Keyset.Keys[:1]
	stage("making the new key pair", false)
	e.Document.Keyset.Keys = newEstate(t, 2).Document.Keyset.Keys
	e.ack(0, time.Second, nil)
	stage("waiting for workers to accept the new key: 1 of 2 workers ready, 1 silent", false)
	e.Waivers = []ledger.Waiver{{Worker: e.Workers[1].ID}}
	stage("trying the new key: 1 of 1 worker ready, 1 silent (waived)", false)
	e.promote(time.Hour)
	e.Document = newEstate(t, 2).Document
	stage("no rotation is pending any more, the keyset has yet to say so: 1 of 1 worker ready, 1 silent (waived)", false)
	e.promote(time.Hour)
	e.ack(0, time.Second, nil)
	stage("the switch is made, the key before it is accepted until 13:00:00Z: 1 of 1 worker ready, 1 silent (waived)", false)
	e.Now = noon.Add(time.Hour)
	stage("waiting for workers to refuse the old key: 0 do, 1 not yet; 1 of 1 worker ready, 1 silent (waived)", false)
	e.ack(0, time.Hour, nil)
	stage("steady: 1 of 1 worker ready, 1 silent (waived), 1 refuses the old key", true)
	e.Waivers = nil
	stage("waiting for workers to refuse the old key: 1 does, 1 not yet; 1 of 2 workers ready, 1 silent", false)
}

func TestFollowingEndsWhenAStepFails(t *testing.T) {
	e := newEstate(t, 1)
	e.Records = []ledger.Report{{Phase: "testSecret", VersionID: "version-new", Message: "nobody \x1b[2J is ready"}}
	if done, err := (&Follower{}).Next(New(e.Facts)); !done || !errors.Is(err, ErrFailing) || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%v, %v", done, err)
	}
	if done, err := (&Follower{KeepGoing: true}).Next(New(e.Facts)); done || err != nil {
		t.Errorf("keeping going: %v, %v", done, err)
	}
}

func TestFollowingEndsWhenTheRotationIsGivenUp(t *testing.T) {
	e := newEstate(t, 0)
	var f Follower
	next := func() (bool, error) { return f.Next(New(e.Facts)) }
	labels := e.Secret.Versions
	lost := []Version{{ID: "version-old", Labels: []string{LabelCurrent}}}
	for i, step := range []struct {
		versions []Version
		ended    bool
	}{{labels, false}, {lost, false}, {lost, false}, {labels, false}, {lost, false}, {lost, false}, {lost, true}} {
		e.Secret.Versions = step.versions
		if done, err := next(); done != step.ended || errors.Is(err, ErrGivenUp) != step.ended {
			t.Errorf("look %d: %v, %v", i, done, err)
		}
	}
}

func TestAKeyThatWasGivenUpIsNotCalledTheOldOne(t *testing.T) {
	e := newEstate(t, 1)
	e.Secret.Versions = e.Secret.Versions[:1]
	e.Document.Keyset.Keys[1].State, e.Document.Keyset.Keys[1].NotAfter = keyset.Retiring, noon.Add(time.Hour)
	e.ack(0, time.Second, nil)
	if got, want := New(e.Facts).Stage(), "no rotation is pending, a key that was given up is accepted until 13:00:00Z: 1 of 1 worker ready"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestThereMayBeNothingToFollow(t *testing.T) {
	e := newEstate(t, 1)
	e.Published, e.Secret.Versions = false, []Version{{ID: "version-old", Labels: []string{LabelCurrent}}}
	if done, err := (&Follower{}).Next(New(e.Facts)); !done || !errors.Is(err, ErrNothing) {
		t.Errorf("%v, %v", done, err)
	}
}
