package expr

import (
	"unicode/utf8"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
)

// operand is what may stand on a side of a comparison or of an assignment. eval answers false where the item lacks it.
type operand interface {
	eval(it attr.Item) (attr.Value, bool)
}

type literal struct{ value attr.Value }

func (l literal) eval(attr.Item) (attr.Value, bool) { return l.value, true }

func (p path) eval(it attr.Item) (attr.Value, bool) { return p.find(it) }

// size is the function of that name: characters, bytes, or members.
type size struct{ of path }

func (s size) eval(it attr.Item) (attr.Value, bool) {
	v, ok := s.of.find(it)
	if !ok {
		return attr.Value{}, false
	}
	switch v.Kind {
	case attr.String:
		return attr.Int(utf8.RuneCountInString(v.Text)), true
	case attr.Binary:
		return attr.Int(len(v.Text)), true
	case attr.Map:
		return attr.Int(len(v.Fields)), true
	case attr.Number, attr.Bool, attr.Null:
		return attr.Value{}, false
	default:
		return attr.Int(len(v.Elems)), true
	}
}

// parseOperand reads a path, a :value, or size(path).
func (p *parser) parseOperand() (operand, error) {
	switch {
	case p.peek().kind == tokenValue:
		v, err := p.scope.value(p.next().text)
		return literal{v}, err
	case p.atCall():
		return p.parseSize()
	default:
		return p.parsePath()
	}
}

func (p *parser) parseSize() (operand, error) {
	name := p.next()
	if name.text != "size" {
		return nil, functionError(name.text)
	}
	p.next() // the parenthesis that atCall saw
	of, err := p.parsePath()
	if err != nil {
		return nil, err
	}
	return size{of}, p.expect(")")
}

func functionError(name string) error {
	switch name {
	case "attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains", "size", "if_not_exists", "list_append":
		return refusal("The function is not allowed to be used this way in an expression; function: %s", name)
	default:
		return refusal("Invalid function name; function: %s", name)
	}
}

// wantKind refuses a literal of a kind that the operator does not take; what an item holds is judged when it is met.
func wantKind(operator string, o operand, allowed func(attr.Kind) bool) error {
	l, ok := o.(literal)
	if !ok || allowed(l.value.Kind) {
		return nil
	}
	return refusal("Incorrect operand type for operator or function; operator or function: %s, operand type: %s", operator, l.value.Kind)
}
