package expr

import (
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
)

// Condition is a parsed condition or filter expression. A nil Condition holds for every item. Safe for concurrent use.
type Condition struct{ root predicate }

// predicate is one node of a condition.
type predicate interface {
	holds(it attr.Item) bool
}

// Condition parses a ConditionExpression or FilterExpression (kind says which, for refusals); "" gives nil.
func (s *Scope) Condition(kind string, text *string) (*Condition, error) {
	if text == nil {
		return nil, nil
	}
	root, err := s.predicate(*text)
	if err != nil {
		return nil, named(kind, err)
	}
	return &Condition{root}, nil
}

func (s *Scope) predicate(text string) (predicate, error) {
	p, err := s.parser(text)
	if err != nil {
		return nil, err
	}
	root, err := p.parseOr()
	if err != nil {
		return nil, err
	}
	return root, p.end()
}

// Match reports whether the condition holds for it; a nil item is one that does not exist.
func (c *Condition) Match(it attr.Item) bool { return c == nil || c.root.holds(it) }

type (
	anyOf  []predicate
	allOf  []predicate
	negate struct{ inner predicate }
	// grouped marks parentheses, which may not be doubled.
	grouped struct{ inner predicate }
)

func (a anyOf) holds(it attr.Item) bool {
	for _, p := range a {
		if p.holds(it) {
			return true
		}
	}
	return false
}

func (a allOf) holds(it attr.Item) bool {
	for _, p := range a {
		if !p.holds(it) {
			return false
		}
	}
	return true
}

func (n negate) holds(it attr.Item) bool  { return !n.inner.holds(it) }
func (g grouped) holds(it attr.Item) bool { return g.inner.holds(it) }

func (p *parser) parseOr() (predicate, error) {
	terms, err := joined(p, "OR", p.parseAnd)
	if len(terms) == 1 {
		return terms[0], err
	}
	return anyOf(terms), err
}

func (p *parser) parseAnd() (predicate, error) {
	terms, err := joined(p, "AND", p.parseNot)
	if len(terms) == 1 {
		return terms[0], err
	}
	return allOf(terms), err
}

func joined(p *parser, word string, term func() (predicate, error)) ([]predicate, error) {
	var terms []predicate
	for {
		t, err := term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
		if !p.accept(word) {
			return terms, nil
		}
	}
}

func (p *parser) parseNot() (predicate, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	switch {
	case p.accept("NOT"):
		inner, err := p.parseNot()
		return negate{inner}, err
	case p.accept("("):
		return p.parseGroup()
	case p.atCall() && !strings.EqualFold(p.peek().text, "size"):
		return p.parseFunction()
	default:
		return p.parseComparison()
	}
}

func (p *parser) parseGroup() (predicate, error) {
	inner, err := p.parseOr()
	if err != nil {
		return nil, err
	}
	if _, again := inner.(grouped); again {
		return nil, refusal("The expression has redundant parentheses;")
	}
	return grouped{inner}, p.expect(")")
}
