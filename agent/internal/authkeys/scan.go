package authkeys

import (
	"bytes"
	"fmt"
)

// A line is one line of the file: where it is, and what it is.
type line struct {
	start, end int // with its newline, which only the last line may lack
	mark       mark
	isKey      bool
	inBlock    bool // in a region that a marker of ours claims; on the markers too
	grant
}

// A file is the text with its lines read once.
type file struct {
	text  []byte
	lines []line
	// whole says that there is exactly one block of ours and nothing is wrong with its markers. Its lines are first to last.
	whole       bool
	first, last int
	repairs     []string
}

// scan reads the text as the file of one secret.
func scan(text []byte, secretARN string) *file {
	f := &file{text: text, lines: make([]line, 0, bytes.Count(text, []byte{'\n'})+1)}
	r := newReader()
	for start := 0; start < len(text); {
		end := len(text)
		if i := bytes.IndexByte(text[start:], '\n'); i >= 0 {
			end = start + i + 1
		}
		raw := bytes.TrimSuffix(text[start:end], []byte{'\n'})
		l := line{start: start, end: end}
		if l.grant, l.isKey = r.read(raw); !l.isKey {
			l.mark = markOf(raw, secretARN)
		}
		f.lines = append(f.lines, l)
		start = end
	}
	f.findBlock()
	return f
}

// findBlock looks for the block. When anything about the markers is wrong, every region that they may have meant is marked as
// claimed, and the file is not whole.
func (f *file) findBlock() {
	begins, ends := f.count(ownBegin), f.count(ownEnd)
	if begins == 0 && ends == 0 {
		return
	}
	if f.first, f.last = f.index(ownBegin), f.index(ownEnd); begins == 1 && ends == 1 && f.first < f.last && !f.mixed() {
		f.whole = true
		f.claim(f.first, f.last)
		return
	}
	known := len(f.repairs) > 0
	for i := range f.lines {
		switch f.lines[i].mark {
		case ownBegin:
			f.claimAfter(i, known)
		case ownEnd:
			f.claimBefore(i, known)
		}
	}
	if len(f.repairs) == 0 {
		f.note(f.first, "the block stood %d times in the file", begins)
	}
}

// mixed reports whether another secret's marker stands inside the block.
func (f *file) mixed() bool {
	for i := f.first; i < f.last; i++ {
		if m := f.lines[i].mark; m == otherBegin || m == otherEnd {
			f.note(i, "another secret's marker stood inside the block")
			return true
		}
	}
	return false
}

// claimAfter claims what follows a BEGIN up to the next marker. What is wrong is noted unless it is known already.
func (f *file) claimAfter(i int, known bool) {
	next := i + 1
	for next < len(f.lines) && f.lines[next].mark == noMark {
		next++
	}
	if !known && (next == len(f.lines) || f.lines[next].mark != ownEnd) {
		f.note(i, "a BEGIN marker had no END")
	}
	f.claim(i, next-1)
}

// claimBefore claims what stands before an END up to the previous marker. When that is its BEGIN, claimAfter has done it.
func (f *file) claimBefore(i int, known bool) {
	prev := i - 1
	for prev >= 0 && f.lines[prev].mark == noMark {
		prev--
	}
	if !known && (prev < 0 || f.lines[prev].mark != ownBegin) {
		f.note(i, "an END marker had no BEGIN")
	}
	f.claim(prev+1, i)
}

func (f *file) claim(from, to int) {
	for i := from; i <= to; i++ {
		f.lines[i].inBlock = true
	}
}

func (f *file) note(i int, format string, args ...any) {
	f.repairs = append(f.repairs, fmt.Sprintf("line %d: ", i+1)+fmt.Sprintf(format, args...))
}

func (f *file) count(m mark) (n int) {
	for i := range f.lines {
		if f.lines[i].mark == m {
			n++
		}
	}
	return n
}

// index returns the first line with the mark, or -1.
func (f *file) index(m mark) int {
	for i := range f.lines {
		if f.lines[i].mark == m {
			return i
		}
	}
	return -1
}
