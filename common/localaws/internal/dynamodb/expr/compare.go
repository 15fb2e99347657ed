package expr

import (
	"slices"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
)

// comparison is a relation of two operands. Where one is absent only <> holds; values of two kinds are never ordered.
type comparison struct {
	operator    string
	left, right operand
}

func (c comparison) holds(it attr.Item) bool {
	a, haveA := c.left.eval(it)
	b, haveB := c.right.eval(it)
	if c.operator == "<>" {
		return !attr.Equal(a, b) // what is absent is the zero value, which equals no other
	}
	return haveA && haveB && relates(a, c.operator, b)
}

func relates(a attr.Value, operator string, b attr.Value) bool {
	if operator == "=" {
		return attr.Equal(a, b)
	}
	if a.Kind != b.Kind || !a.Kind.Ordered() {
		return false
	}
	order := attr.Compare(a, b)
	switch operator {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	default:
		return order >= 0
	}
}

type between struct{ value, low, high operand }

func (b between) holds(it attr.Item) bool {
	return comparison{">=", b.value, b.low}.holds(it) && comparison{"<=", b.value, b.high}.holds(it)
}

type oneOf struct {
	value   operand
	choices []operand
}

func (o oneOf) holds(it attr.Item) bool {
	for _, choice := range o.choices {
		if (comparison{"=", o.value, choice}).holds(it) {
			return true
		}
	}
	return false
}

func (p *parser) parseComparison() (predicate, error) {
	left, err := p.parseOperand()
	if err != nil {
		return nil, err
	}
	switch {
	case p.accept("BETWEEN"):
		return p.parseBetween(left)
	case p.accept("IN"):
		return p.parseIn(left)
	default:
		return p.parseRelation(left)
	}
}

func (p *parser) parseRelation(left operand) (predicate, error) {
	operator := p.next()
	switch operator.text {
	case "=", "<>", "<", "<=", ">", ">=":
	default:
		return nil, syntaxError(p.text, operator)
	}
	right, err := p.parseOperand()
	if err != nil {
		return nil, err
	}
	c := comparison{operator.text, left, right}
	return c, c.check()
}

func (c comparison) check() error {
	left, isPath := c.left.(path)
	right, areBoth := c.right.(path)
	if isPath && areBoth && slices.Equal(left, right) {
		return refusal("The first operand must be distinct from the remaining operands for this operator or function; operator: %s, first operand: %s", c.operator, left)
	}
	if c.operator == "=" || c.operator == "<>" {
		return nil
	}
	return checkOrdered(c.operator, c.left, c.right)
}

func checkOrdered(operator string, operands ...operand) error {
	for _, o := range operands {
		if err := wantKind(operator, o, attr.Kind.Ordered); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) parseBetween(value operand) (predicate, error) {
	low, err := p.parseOperand()
	if err != nil {
		return nil, err
	}
	if err := p.expect("AND"); err != nil {
		return nil, err
	}
	high, err := p.parseOperand()
	if err != nil {
		return nil, err
	}
	return between{value, low, high}, checkBounds(value, low, high)
}

func checkBounds(value, low, high operand) error {
	if err := checkOrdered("BETWEEN", value, low, high); err != nil {
		return err
	}
	a, aFixed := low.(literal)
	b, bFixed := high.(literal)
	switch {
	case !aFixed || !bFixed:
		return nil
	case a.value.Kind != b.value.Kind:
		return refusal("The BETWEEN operator requires same data type for lower and upper bounds")
	case attr.Compare(a.value, b.value) > 0:
		return refusal("The BETWEEN operator requires upper bound to be greater than or equal to lower bound")
	default:
		return nil
	}
}

// maxChoices is how many operands IN takes.
const maxChoices = 100

func (p *parser) parseIn(value operand) (predicate, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	choices, err := list(p, p.parseOperand)
	if err != nil {
		return nil, err
	}
	if len(choices) > maxChoices {
		return nil, refusal("Invalid number of operands for operator or function: IN")
	}
	return oneOf{value, choices}, p.expect(")")
}
