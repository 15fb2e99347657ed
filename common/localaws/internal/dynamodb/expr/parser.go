package expr

import (
	"strconv"
)

// maxNesting bounds parentheses and NOTs, so that no expression can exhaust the stack.
const maxNesting = 100

// parser reads one expression; its methods return on the first fault.
type parser struct {
	scope  *Scope
	text   string
	tokens []token
	depth  int
}

func (s *Scope) parser(text string) (*parser, error) {
	switch {
	case text == "":
		return nil, refusal("The expression can not be empty;")
	case len(text) > maxLength:
		return nil, refusal("Expression size has exceeded the maximum allowed size; expression size: %d", len(text))
	}
	tokens, err := tokenize(text)
	if err != nil {
		return nil, err
	}
	return &parser{scope: s, text: text, tokens: tokens}, nil
}

func (p *parser) peek() token { return p.tokens[0] }

// next takes a token; the end marker is never taken.
func (p *parser) next() token {
	t := p.tokens[0]
	if t.kind != tokenEnd {
		p.tokens = p.tokens[1:]
	}
	return t
}

// accept takes the next token if it is the given keyword or symbol.
func (p *parser) accept(text string) bool {
	if !p.peek().is(text) {
		return false
	}
	p.next()
	return true
}

func (p *parser) expect(text string) error {
	if !p.accept(text) {
		return syntaxError(p.text, p.peek())
	}
	return nil
}

// end refuses anything that is left over.
func (p *parser) end() error {
	if p.peek().kind != tokenEnd {
		return syntaxError(p.text, p.peek())
	}
	return nil
}

// atCall reports whether a function's name and its parenthesis come next.
func (p *parser) atCall() bool {
	return p.peek().kind == tokenWord && p.tokens[1].is("(")
}

func (p *parser) enter() error {
	if p.depth++; p.depth > maxNesting {
		return refusal("The expression is nested too deeply;")
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

func (p *parser) parsePath() (path, error) {
	first, err := p.pathName()
	if err != nil {
		return nil, err
	}
	steps := path{first}
	for {
		var s step
		switch {
		case p.accept("."):
			s, err = p.pathName()
		case p.accept("["):
			s, err = p.pathIndex()
		default:
			return steps, nil
		}
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
}

func (p *parser) pathName() (step, error) {
	t := p.next()
	switch {
	case t.kind == tokenName:
		name, err := p.scope.name(t.text)
		return step{name: name}, err
	case t.kind != tokenWord:
		return step{}, syntaxError(p.text, t)
	case reserved(t.text):
		return step{}, refusal("Attribute name is a reserved keyword; reserved keyword: %s", t.text)
	default:
		return step{name: t.text}, nil
	}
}

func (p *parser) pathIndex() (step, error) {
	t := p.next()
	index, err := strconv.Atoi(t.text)
	if t.kind != tokenNumber || err != nil {
		return step{}, syntaxError(p.text, t)
	}
	return step{index: index, isIndex: true}, p.expect("]")
}

// list reads one or more entries separated by commas.
func list[T any](p *parser, entry func() (T, error)) ([]T, error) {
	var entries []T
	for {
		e, err := entry()
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
		if !p.accept(",") {
			return entries, nil
		}
	}
}
