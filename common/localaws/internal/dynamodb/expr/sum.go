package expr

import (
	"slices"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
)

// sum is the right-hand side of an assignment: a term, or two joined by + or -.
type sum struct {
	operator    string // "", "+" or "-"
	left, right term
}

// term is what SET can assign. compute fails where the item lacks an attribute that it needs.
type term interface {
	compute(it attr.Item) (attr.Value, error)
}

type (
	plain       struct{ of operand }
	ifNotExists struct {
		at       path
		fallback term
	}
	listAppend struct{ first, second term }
)

func (p plain) compute(it attr.Item) (attr.Value, error) {
	v, ok := p.of.eval(it)
	if !ok {
		return attr.Value{}, refusal("The provided expression refers to an attribute that does not exist in the item")
	}
	return v, nil
}

func (f ifNotExists) compute(it attr.Item) (attr.Value, error) {
	if v, ok := f.at.find(it); ok {
		return v, nil
	}
	return f.fallback.compute(it)
}

func (l listAppend) compute(it attr.Item) (attr.Value, error) {
	a, b, err := computeBoth(it, l.first, l.second)
	if err != nil {
		return attr.Value{}, err
	}
	if a.Kind != attr.List || b.Kind != attr.List {
		return attr.Value{}, wrongType()
	}
	return attr.Value{Kind: attr.List, Elems: slices.Concat(a.Elems, b.Elems)}, nil
}

func (s sum) compute(it attr.Item) (attr.Value, error) {
	if s.operator == "" {
		return s.left.compute(it)
	}
	a, b, err := computeBoth(it, s.left, s.right)
	switch {
	case err != nil:
		return attr.Value{}, err
	case a.Kind != attr.Number || b.Kind != attr.Number:
		return attr.Value{}, wrongType()
	case s.operator == "+":
		return attr.Add(a, b)
	default:
		return attr.Sub(a, b)
	}
}

func computeBoth(it attr.Item, first, second term) (a, b attr.Value, err error) {
	if a, err = first.compute(it); err != nil {
		return a, b, err
	}
	b, err = second.compute(it)
	return a, b, err
}

func (p *parser) parseSum() (sum, error) {
	left, err := p.parseTerm()
	if err != nil {
		return sum{}, err
	}
	if !p.peek().is("+") && !p.peek().is("-") {
		return sum{left: left}, nil
	}
	operator := p.next().text
	right, err := p.parseTerm()
	return sum{operator, left, right}, err
}

func (p *parser) parseTerm() (term, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	switch {
	case p.accept("("):
		inner, err := p.parseSum()
		if err != nil {
			return nil, err
		}
		return inner, p.expect(")")
	case p.atCall():
		return p.parseTermFunction()
	default:
		of, err := p.parseOperand()
		return plain{of}, err
	}
}

func (p *parser) parseTermFunction() (term, error) {
	name := p.next().text
	p.next() // the parenthesis that atCall saw
	args, err := list(p, p.parseTerm)
	if err != nil {
		return nil, err
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	if name != "if_not_exists" && name != "list_append" {
		return nil, functionError(name)
	}
	if len(args) != 2 {
		return nil, refusal("Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", name, len(args))
	}
	if name == "list_append" {
		return listAppend{args[0], args[1]}, nil
	}
	first, _ := args[0].(plain)
	at, ok := first.of.(path)
	if !ok {
		return nil, refusal("Operator or function requires a document path; operator or function: %s", name)
	}
	return ifNotExists{at, args[1]}, nil
}
