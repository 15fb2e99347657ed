package authkeys

import (
	"bytes"
	"encoding/base64"
	"slices"
)

// A grant is what a line of authorized_keys offers: a key, and options in front of it.
type grant struct {
	digest  digest
	options []byte // as they stand in the line; nil for none
}

// A reader reads lines. It holds buffers, so that a file of thousands of keys costs no allocation for each.
type reader struct {
	base64 *base64.Encoding
	blob   []byte
	parts  [][]byte
}

func newReader() *reader {
	return &reader{base64: base64.StdEncoding.Strict(), parts: make([][]byte, 0, 8)}
}

// read returns the key that sshd would find in the line, which comes without its newline. sshd works on C strings, so a NUL ends
// the line.
func (r *reader) read(line []byte) (grant, bool) {
	if i := bytes.IndexByte(line, 0); i >= 0 {
		line = line[:i]
	}
	line = trimBlanks(line)
	if len(line) == 0 || line[0] == '#' {
		return grant{}, false
	}
	if d, ok := r.key(line); ok {
		return grant{digest: d}, true
	}
	n, ok := optionsLength(line)
	if !ok {
		return grant{}, false
	}
	d, ok := r.key(trimBlanks(line[n:]))
	return grant{digest: d, options: line[:n]}, ok
}

// trimBlanks skips what sshd skips: spaces and tabs, nothing else.
func trimBlanks(s []byte) []byte {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	return s
}

// word splits at the first space or tab. Words are long and most end in a space: two fast searches beat one slow one.
func word(s []byte) (first, rest []byte) {
	end := len(s)
	if i := bytes.IndexByte(s, ' '); i >= 0 {
		end = i
	}
	if i := bytes.IndexByte(s[:end], '\t'); i >= 0 {
		end = i
	}
	return s[:end], s[end:]
}

// optionsLength returns how long the options at the start of the line are: up to the first blank outside quotes. A quote that is never
// closed makes the line worthless to sshd.
func optionsLength(line []byte) (n int, ok bool) {
	quoted := false
	for n < len(line) && (quoted || line[n] != ' ' && line[n] != '\t') {
		switch {
		case line[n] == '\\' && n+1 < len(line) && line[n+1] == '"':
			n++
		case line[n] == '"':
			quoted = !quoted
		}
		n++
	}
	return n, !quoted
}

// key reads an algorithm name and a base64 blob.
func (r *reader) key(s []byte) (digest, bool) {
	name, rest := word(s)
	k, ok := kindOfLine(name)
	if !ok || len(rest) == 0 {
		return digest{}, false
	}
	text, _ := word(trimBlanks(rest))
	blob, ok := r.decode(text)
	if !ok {
		return digest{}, false
	}
	return digestOf(k, blob, r.parts)
}

// decode is the base64 of sshd: padding is required, unused bits must be zero, and white space (other than the blanks that
// end the word) may stand anywhere.
func (r *reader) decode(text []byte) ([]byte, bool) {
	r.blob = slices.Grow(r.blob[:0], base64.StdEncoding.DecodedLen(len(text)))
	n, err := r.base64.Decode(r.blob[:cap(r.blob)], text)
	if err != nil && bytes.ContainsAny(text, "\v\f") {
		return r.decode(bytes.Map(dropBlank, text))
	}
	return r.blob[:n], err == nil
}

// dropBlank is for the white space that package base64 does not skip itself.
func dropBlank(c rune) rune {
	if c == '\v' || c == '\f' {
		return -1
	}
	return c
}
