package expr

import (
	"regexp"
	"strings"
)

type tokenKind int

const (
	tokenEnd    tokenKind = iota
	tokenWord             // attribute, keyword or function name
	tokenName             // #placeholder
	tokenValue            // :placeholder
	tokenNumber           // list index
	tokenSymbol           // operator or punctuation
)

type token struct {
	kind tokenKind
	text string
	pos  int
}

// is reports whether t is the given keyword, in any case, or symbol.
func (t token) is(text string) bool {
	return t.kind == tokenSymbol && t.text == text || t.kind == tokenWord && strings.EqualFold(t.text, text)
}

var (
	blankPattern = regexp.MustCompile(`^[ \t\r\n\f]+`)
	tokenPattern = regexp.MustCompile(`^(?:([A-Za-z_][A-Za-z0-9_]*)|(#[A-Za-z0-9_]+)|(:[A-Za-z0-9_]+)|([0-9]+)|(<>|<=|>=|[=<>()\[\].,+-]))`)
)

func tokenize(text string) ([]token, error) {
	var tokens []token
	for pos := 0; ; {
		pos += len(blankPattern.FindString(text[pos:]))
		if pos == len(text) {
			return append(tokens, token{kind: tokenEnd, text: "<EOF>", pos: pos}), nil
		}
		groups := tokenPattern.FindStringSubmatch(text[pos:])
		if groups == nil {
			return nil, syntaxError(text, token{text: text[pos : pos+1], pos: pos})
		}
		for kind := tokenWord; kind <= tokenSymbol; kind++ {
			if groups[kind] != "" {
				tokens = append(tokens, token{kind: kind, text: groups[kind], pos: pos})
			}
		}
		pos += len(groups[0])
	}
}

// syntaxError points at a token with a few characters on either side of it, as the service does.
func syntaxError(text string, t token) error {
	const window = 12
	from, to := max(0, t.pos-window), min(len(text), t.pos+len(t.text)+window)
	return refusal("Syntax error; token: %q, near: %q", t.text, text[from:max(from, to)])
}
