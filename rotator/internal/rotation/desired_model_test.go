package rotation

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/rotatessh/rotatessh/common/keyset"
)

// model is a world of labels that anybody may move at any time, and of runs of the rotator that read them
// late, publish late or never.
type model struct {
	t   *testing.T
	rnd *rand.Rand
	now time.Time

	reconciled        time.Time
	keys              map[int]keyset.PublicKey
	versions          int // made so far
	empty             map[int]bool
	revokes           map[int][]string // by each version, of keys that are revoked
	current, pending  int              // version, -1 for none
	previous          int
	published         keyset.Keyset
	history           []labels // how the labels were, the latest last
	lastSeen          map[keyset.PublicKey]time.Time
	conflicts         int
	orphans, switches int
	revocations       int
}

type labels struct{ current, pending, previous int }

// run is one invocation between its readings and its publication.
type run struct {
	at   time.Time
	base keyset.Keyset
	next keyset.Keyset
}

const (
	modelRetireAfter = 15 * time.Minute
	scheduled        = 5 * time.Minute
)

func (m *model) label(version int) labelled {
	if version < 0 || m.empty[version] {
		return labelled{}
	}
	if _, known := m.keys[version]; !known {
		m.keys[version] = testKey(m.t, version)
	}
	return labelled{testVersion(version), m.keys[version]}
}

func (m *model) note() {
	m.history = append(m.history, labels{m.current, m.pending, m.previous})
	if k := m.label(m.current); !k.none() {
		m.lastSeen[k.public] = m.now
	}
}

// read is what a run learns: the keyset first, then the labels, which may be those of a moment ago. The
// clock lags by less than a second.
func (m *model) read() run {
	seen := m.history[len(m.history)-1]
	if lag := m.rnd.IntN(20); lag == 0 && len(m.history) > 1 {
		seen = m.history[len(m.history)-2]
	}
	m.reconciled = m.now
	f := facts{
		secretARN: testARN, current: m.label(seen.current), pending: m.label(seen.pending), previous: m.label(seen.previous),
		published: m.published, revoked: m.revokes[seen.current], now: m.now.Add(-time.Duration(m.rnd.Int64N(int64(dateSlack)))), retireAfter: modelRetireAfter,
	}
	if seen.pending == seen.current {
		f.pending = labelled{}
	}
	return run{at: m.now, base: m.published, next: desired(f)}
}

// publish is the compare-and-swap.
func (m *model) publish(r run) {
	if m.now.Sub(r.at) > publishTime {
		return // it has given up
	}
	if r.base.Generation != m.published.Generation {
		m.conflicts++
		return
	}
	if len(r.next.Keys) == 0 || keyset.SameContent(r.next, m.published) {
		return
	}
	r.next.Generation = m.published.Generation + 1
	if err := r.next.Validate(); err != nil {
		m.t.Fatalf("generation %d: %v", r.next.Generation, err)
	}
	m.follows(m.published, r.next)
	m.published = r.next
}

// follows checks the step from one document to the next: no key leaves but after its time, no time is
// changed, and a time that is set is far enough away.
func (m *model) follows(before, after keyset.Keyset) {
	is := map[keyset.PublicKey]keyset.Key{}
	for _, k := range after.Keys {
		is[k.PublicKey] = k
	}
	for _, was := range before.Keys {
		now, still := is[was.PublicKey]
		switch {
		case !still && m.revoked(was.PublicKey):
		case !still && !was.Elapsed(m.now):
			m.t.Fatalf("generation %d: %s key left at once", after.Generation, was.State)
		case !still && m.now.Before(m.lastSeen[was.PublicKey].Add(modelRetireAfter)):
			m.t.Fatalf("generation %d: a key left %v after it was current", after.Generation, m.now.Sub(m.lastSeen[was.PublicKey]))
		case still && was.State == keyset.Retiring && now.State == keyset.Retiring && !now.NotAfter.Equal(was.NotAfter):
			m.t.Fatalf("generation %d: notAfter went from %v to %v", after.Generation, was.NotAfter, now.NotAfter)
		case still && was.State != keyset.Retiring && now.State == keyset.Retiring:
			m.switches++
			// A run that had read the labels before a switch may still publish after it. The key that is
			// current then is in use again with the next publication.
			if now.NotAfter.Before(m.lastSeen[was.PublicKey].Add(modelRetireAfter - publishTime)) {
				m.t.Fatalf("generation %d: notAfter %v is too early for a key last current at %v", after.Generation, now.NotAfter, m.lastSeen[was.PublicKey])
			}
		}
	}
}

// revoked reports whether some version that is or was current revokes a key.
func (m *model) revoked(key keyset.PublicKey) bool {
	for _, seen := range m.history {
		if slices.Contains(m.revokes[seen.current], key.Fingerprint()) {
			return true
		}
	}
	return false
}

// pass lets some time pass: mostly seconds, sometimes minutes. The schedule runs in time.
func (m *model) pass() {
	longest := 8 * time.Second
	if m.rnd.IntN(10) == 0 {
		longest = scheduled
	}
	m.now = m.now.Add(time.Duration(m.rnd.Int64N(int64(longest))))
	m.note()
	if m.now.Sub(m.reconciled) > scheduled {
		m.publish(m.read())
	}
}

// move is one thing that happens to the labels.
func (m *model) move() {
	switch m.rnd.IntN(9) {
	case 0, 1: // a rotation begins: AWSPENDING on an empty version
		m.versions++
		m.empty[m.versions] = true
		m.pending = m.versions
	case 2, 3: // createSecret, which carries on what is revoked
		if m.pending > 0 && m.empty[m.pending] {
			delete(m.empty, m.pending)
			m.revokes[m.pending] = m.revokes[m.current]
		}
	case 4, 5: // finishSecret: only what the keyset accepts without an end
		if k := m.label(m.pending); !k.none() && accepts(m.published, k.public) {
			m.previous, m.current, m.pending = m.current, m.pending, -1
		}
	case 6: // an abort
		if m.pending >= 0 {
			m.orphans++
		}
		m.pending = -1
	case 7: // back to the previous one, if workers accept it
		if k := m.label(m.previous); !k.none() && accepts(m.published, k.public) && !m.revoked(k.public) {
			m.current, m.previous = m.previous, m.current
		}
	case 8: // a revocation begins, in the place of what is pending
		if k := m.label(m.current); !k.none() && len(m.published.Keys) > 0 {
			m.versions++
			m.revocations++
			m.pending = m.versions
			m.revokes[m.pending] = append(fingerprints(m.published), m.revokes[m.current]...)
		}
	}
	m.note()
}

// TestAnyOrderOfEventsKeepsTheCurrentKeyAccepted plays random worlds. Whatever happens in whatever order, the
// key of AWSCURRENT is in the keyset, and no key leaves it early.
func TestAnyOrderOfEventsKeepsTheCurrentKeyAccepted(t *testing.T) {
	var conflicts, orphans, switches, revocations int
	keys := map[int]keyset.PublicKey{}
	for seed := range uint64(40) {
		m := &model{
			keys: keys,
			t:    t, rnd: rand.New(rand.NewPCG(seed, 7)), now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
			empty: map[int]bool{0: true}, revokes: map[int][]string{}, pending: -1, previous: -1, lastSeen: map[keyset.PublicKey]time.Time{},
		}
		m.note()
		var inFlight []run
		for range 400 {
			m.pass()
			switch m.rnd.IntN(5) {
			case 0:
				m.move()
			case 1:
				inFlight = append(inFlight, m.read())
			case 2: // one that started some time ago goes on, or is killed
				if len(inFlight) > 0 {
					i := m.rnd.IntN(len(inFlight))
					if m.rnd.IntN(3) > 0 {
						m.publish(inFlight[i])
					}
					inFlight = append(inFlight[:i], inFlight[i+1:]...)
				}
			default:
				m.publish(m.read())
			}
			m.check(seed)
		}
		m.publish(m.read())
		m.note()
		m.publish(m.read()) // of labels as they are
		for _, k := range m.published.Keys {
			if slices.Contains(m.revokes[m.current], k.PublicKey.Fingerprint()) {
				t.Fatalf("seed %d: a revoked key is %s", seed, k.State)
			}
		}
		revocations += m.revocations
		conflicts, orphans, switches = conflicts+m.conflicts, orphans+m.orphans, switches+m.switches
	}
	if conflicts < 10 || orphans < 100 || switches < 100 || revocations < 100 {
		t.Errorf("the worlds were too quiet: %d conflicts, %d orphans, %d switches, %d revocations", conflicts, orphans, switches, revocations)
	}
	t.Logf("%d conflicts, %d orphans, %d switches, %d revocations", conflicts, orphans, switches, revocations)
}

func (m *model) check(seed uint64) {
	k := m.label(m.current)
	if k.none() {
		return
	}
	for _, have := range m.published.Keys {
		if have.PublicKey == k.public && !have.Elapsed(m.now) {
			return
		}
	}
	m.t.Fatalf("seed %d: generation %d does not accept AWSCURRENT's key", seed, m.published.Generation)
}
