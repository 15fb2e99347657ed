package authkeys

import "bytes"

// A mark is what a line means to the managed blocks.
type mark uint8

const (
	noMark     mark = iota
	ownBegin        // begins a block of the secret in question
	ownEnd          // ends one
	otherBegin      // begins a block of another secret
	otherEnd
)

const (
	beginWord   = "# BEGIN rotatessh "
	endWord     = "# END rotatessh "
	managedNote = " (managed, edits are overwritten)"
)

// markOf recognises a marker also after an editor has indented it, changed its line end, or lost the note behind the ARN.
func markOf(line []byte, secretARN string) mark {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '#' {
		return noMark
	}
	fields := bytes.Fields(line[:min(len(line), len(beginWord)+len(secretARN)+2048)])
	if len(fields) < 4 || string(fields[0]) != "#" || string(fields[2]) != "rotatessh" {
		return noMark
	}
	own := string(fields[3]) == secretARN
	switch word := string(fields[1]); {
	case word == "BEGIN" && own:
		return ownBegin
	case word == "BEGIN":
		return otherBegin
	case word == "END" && own:
		return ownEnd
	case word == "END":
		return otherEnd
	}
	return noMark
}
