package authkeys

import (
	"bytes"
	"errors"
	"slices"
)

// A Result is the merged text and what an operator wants to know about the way there. Fingerprints are of the form SHA256:….
type Result struct {
	Bytes   []byte // the whole file; the old bytes themselves when nothing changed
	Changed bool
	// Added and Removed are the keys that came into the block and left it.
	Added, Removed []string
	// RemovedForeign are lines outside the block that were removed because their key is retired.
	RemovedForeign []Removal
	// Repaired says in one sentence each what was wrong with the markers.
	Repaired []string
	// Shadowed are the plan's keys that also stand before the block with other options: sshd takes the first line that matches.
	Shadowed []string
	// Adopted are the plan's keys that also stand outside the block without shadowing it, as a key does that somebody appended by hand.
	// Their lines stay until the key is retired.
	Adopted []string
}

// A Removal is a line that was removed. It does not carry the line's text.
type Removal struct {
	Fingerprint string
	Line        int // in the old text, from 1
}

// Merge puts the plan's block into the text of an authorized_keys file, or a new one at the end, and removes lines with retired keys. The
// same text merged again does not change. An error means that the plan is not one to act upon; old is never altered.
func Merge(old []byte, p Plan) (Result, error) {
	plan, err := p.prepare()
	if err != nil {
		return Result{}, err
	}
	m := merge{file: scan(old, plan.arn), plan: plan}
	m.run()
	if m.out = m.render(); bytes.Equal(m.out, old) {
		m.out = old
	}
	return m.result(), nil
}

// A merge is one run of Merge.
type merge struct {
	*file
	plan    *ready
	drop    []bool // by line
	at      int    // the line before which the block goes
	was     map[digest]bool
	wasList []digest
	res     Result
	out     []byte
}

func (m *merge) run() {
	m.drop = make([]bool, len(m.lines))
	m.was = map[digest]bool{}
	m.at = m.place()
	for i := range m.lines {
		m.decide(i)
	}
}

// place finds where the block goes: where it, or what is left of it, is.
func (m *merge) place() int {
	for i := range m.lines {
		if k := m.lines[i].mark; k == ownBegin || k == ownEnd {
			return i
		}
	}
	return len(m.lines)
}

// decide says what becomes of one line.
func (m *merge) decide(i int) {
	l := &m.lines[i]
	switch {
	case m.whole && l.inBlock:
		m.drop[i] = true
		m.remember(l)
	case l.mark == ownBegin || l.mark == ownEnd:
		m.drop[i] = true
	case !l.isKey:
	case l.inBlock && m.ours(l):
		m.drop[i] = true
		m.remember(l)
	case m.plan.retired[l.digest] && !m.plan.protect[l.digest]:
		m.drop[i] = true
		m.res.RemovedForeign = append(m.res.RemovedForeign, Removal{Fingerprint: l.digest.String(), Line: i + 1})
	case m.plan.keys[l.digest]:
		m.standsOutside(i, l)
	}
}

// ours reports whether a line between broken markers is one that we have written: its key is the plan's and so are its options.
func (m *merge) ours(l *line) bool {
	return m.plan.keys[l.digest] && string(l.options) == m.plan.options
}

func (m *merge) remember(l *line) {
	if l.isKey && !m.was[l.digest] {
		m.was[l.digest] = true
		m.wasList = append(m.wasList, l.digest)
	}
}

// standsOutside notes a line outside the block that has a key of the plan.
func (m *merge) standsOutside(i int, l *line) {
	list := &m.res.Adopted
	if i < m.at && m.shadows(l) {
		list = &m.res.Shadowed
	}
	if fp := l.digest.String(); !slices.Contains(*list, fp) {
		*list = append(*list, fp)
	}
}

// shadows reports whether sshd would take the line's options instead of ours. A line that sshd ignores does not shadow; one with an
// option that only we do not know may.
func (m *merge) shadows(l *line) bool {
	if string(l.options) == m.plan.options {
		return false
	}
	found, err := parseOptions(string(l.options))
	if err != nil {
		return errors.Is(err, errUnknownOption)
	}
	return !found["cert-authority"] && !found["principals"]
}

// render copies what stays and puts the block in its place.
func (m *merge) render() []byte {
	out := make([]byte, 0, len(m.text)+len(m.plan.block)+1)
	for i, l := range m.lines {
		if i == m.at {
			out = append(out, m.plan.block...)
		}
		if !m.drop[i] {
			out = append(out, m.text[l.start:l.end]...)
		}
	}
	if m.at == len(m.lines) {
		if n := len(out); n > 0 && out[n-1] != '\n' {
			out = append(out, '\n')
		}
		out = append(out, m.plan.block...)
	}
	return out
}

func (m *merge) result() Result {
	m.res.Bytes = m.out
	m.res.Changed = !bytes.Equal(m.out, m.text)
	m.res.Repaired = m.repairs
	for _, d := range m.plan.order {
		if !m.was[d] {
			m.res.Added = append(m.res.Added, d.String())
		}
	}
	for _, d := range m.wasList {
		if !m.plan.keys[d] {
			m.res.Removed = append(m.res.Removed, d.String())
		}
	}
	return m.res
}
