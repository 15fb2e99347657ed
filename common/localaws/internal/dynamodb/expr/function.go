package expr

import (
	"slices"
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
)

type (
	exists  struct{ at path }
	hasType struct {
		at   path
		kind attr.Kind
	}
	beginsWith struct{ value, prefix operand }
	contains   struct{ value, part operand }
)

func (e exists) holds(it attr.Item) bool {
	_, ok := e.at.find(it)
	return ok
}

func (h hasType) holds(it attr.Item) bool {
	v, ok := h.at.find(it)
	return ok && v.Kind == h.kind
}

func (b beginsWith) holds(it attr.Item) bool {
	v, haveV := b.value.eval(it)
	prefix, haveP := b.prefix.eval(it)
	return haveV && haveP && v.Kind == prefix.Kind && textual(v.Kind) && strings.HasPrefix(v.Text, prefix.Text)
}

func textual(k attr.Kind) bool { return k == attr.String || k == attr.Binary }

func (c contains) holds(it attr.Item) bool {
	v, haveV := c.value.eval(it)
	part, haveP := c.part.eval(it)
	switch {
	case !haveV || !haveP:
		return false
	case textual(v.Kind):
		return v.Kind == part.Kind && strings.Contains(v.Text, part.Text)
	default:
		return v.Contains(part)
	}
}

func (p *parser) parseFunction() (predicate, error) {
	name := p.next().text
	p.next() // the parenthesis that atCall saw
	args, err := p.parseArguments()
	if err != nil {
		return nil, err
	}
	want, known := map[string]int{"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2}[name]
	switch {
	case !known:
		return nil, functionError(name)
	case len(args) != want:
		return nil, refusal("Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", name, len(args))
	default:
		return function(name, args)
	}
}

func (p *parser) parseArguments() ([]operand, error) {
	args, err := list(p, p.parseOperand)
	if err != nil {
		return nil, err
	}
	return args, p.expect(")")
}

func function(name string, args []operand) (predicate, error) {
	at, isPath := args[0].(path)
	switch name {
	case "begins_with":
		return beginsWith{args[0], args[1]}, checkTextual(name, args)
	case "contains":
		return contains{args[0], args[1]}, nil
	}
	if !isPath {
		return nil, refusal("Operator or function requires a document path; operator or function: %s", name)
	}
	switch name {
	case "attribute_exists":
		return exists{at}, nil
	case "attribute_not_exists":
		return negate{exists{at}}, nil
	default:
		return typeFunction(at, args[1])
	}
}

func checkTextual(name string, args []operand) error {
	for _, arg := range args {
		if err := wantKind(name, arg, textual); err != nil {
			return err
		}
	}
	return nil
}

func typeFunction(at path, arg operand) (predicate, error) {
	l, ok := arg.(literal)
	if !ok || l.value.Kind != attr.String {
		return nil, refusal("Incorrect operand type for operator or function; operator or function: attribute_type, operand type: %s", l.value.Kind)
	}
	kind := attr.Kind(l.value.Text)
	if !slices.Contains(attr.Kinds(), kind) {
		return nil, refusal("Invalid attribute type name found; type: %s, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}", kind)
	}
	return hasType{at, kind}, nil
}
