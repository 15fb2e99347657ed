package authkeys

import (
	"bytes"
	"fmt"
)

// A Purged is a text without managed blocks.
type Purged struct {
	Bytes   []byte   // the whole file; the old bytes themselves when there was no block
	Removed []string // fingerprints of the keys in the blocks, in order
	// Left says in one sentence each which markers have no counterpart. Nobody knows what belongs to them, so they stay.
	Left []string
}

// Purge takes the managed blocks of all secrets out of the text of an authorized_keys file, and nothing else. Merge cannot do that: for it,
// that nothing is to be accepted is never a reason to remove keys.
func Purge(old []byte) Purged {
	p := Purged{Bytes: old}
	var out []byte
	lines := bytes.SplitAfter(old, []byte{'\n'})
	keys := newReader()
	for i := 0; i < len(lines); i++ {
		word, arn := marker(lines[i])
		if word == "" {
			out = append(out, lines[i]...)
			continue
		}
		end := blockEnd(lines, i, word, arn)
		if end < 0 {
			p.Left = append(p.Left, fmt.Sprintf("line %d: %s marker without its counterpart", i+1, word))
			out = append(out, lines[i]...)
			continue
		}
		for _, l := range lines[i:end] {
			if g, ok := keys.read(bytes.TrimSuffix(l, []byte{'\n'})); ok {
				p.Removed = append(p.Removed, g.digest.String())
			}
		}
		i = end
	}
	if len(out) < len(old) {
		p.Bytes = out
	}
	return p
}

// blockEnd finds the END of the block that begins in line i, or -1: a block ends at the next marker, and that has to be its own.
func blockEnd(lines [][]byte, i int, word string, arn []byte) int {
	if word != "BEGIN" {
		return -1
	}
	for end := i + 1; end < len(lines); end++ {
		if next, other := marker(lines[end]); next != "" {
			if next == "END" && bytes.Equal(other, arn) {
				return end
			}
			return -1
		}
	}
	return -1
}

// marker is the word and the secret's ARN of a marker of any secret; the word is empty for every other line.
func marker(line []byte) (word string, arn []byte) {
	fields := bytes.Fields(line[:min(len(line), 4096)])
	if len(fields) < 4 {
		return "", nil
	}
	switch markOf(line, string(fields[3])) {
	case ownBegin:
		return "BEGIN", fields[3]
	case ownEnd:
		return "END", fields[3]
	}
	return "", nil
}
