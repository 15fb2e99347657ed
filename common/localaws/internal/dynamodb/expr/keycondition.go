package expr

import (
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
)

// KeyCondition is a parsed KeyConditionExpression: one partition, and a range of sort keys in it.
type KeyCondition struct {
	Partition attr.Value
	// From and To bound the sort key inclusively unless the matching Open flag is set; nil is no bound.
	From, To         *attr.Value
	FromOpen, ToOpen bool
	// Prefix restricts the sort key to those that begin with it; nil is no restriction.
	Prefix *attr.Value
}

// KeyCondition parses text against a table whose key attributes are partition and sort ("" when it has none).
func (s *Scope) KeyCondition(text, partition, sort string) (*KeyCondition, error) {
	root, err := s.predicate(text)
	if err != nil {
		return nil, named("KeyConditionExpression", err)
	}
	c := &keyCollector{partition: partition, sort: sort}
	if err := c.collect(root); err != nil {
		return nil, err
	}
	switch {
	case !c.seenPartition:
		return nil, refusal("Query condition missed key schema element: %s", partition)
	default:
		return &c.out, nil
	}
}

type keyCollector struct {
	partition, sort         string
	seenPartition, seenSort bool
	out                     KeyCondition
}

func (c *keyCollector) collect(node predicate) error {
	switch n := node.(type) {
	case grouped:
		return c.collect(n.inner)
	case allOf:
		for _, term := range n {
			if err := c.collect(term); err != nil {
				return err
			}
		}
		return nil
	case comparison:
		return c.relation(n)
	case between:
		return c.between(n)
	case beginsWith:
		return c.prefix(n)
	default:
		return unsupported()
	}
}

func unsupported() error { return refusal("Query key condition not supported") }

// claim checks that o names a key attribute that has no condition yet, and says whether it is the sort key.
func (c *keyCollector) claim(o operand) (isSort bool, err error) {
	at, ok := o.(path)
	if !ok || len(at) != 1 {
		return false, unsupported()
	}
	seen := &c.seenPartition
	switch name := at[0].name; {
	case name == c.partition:
	case name == c.sort && c.sort != "":
		seen, isSort = &c.seenSort, true
	case c.sort == "":
		return false, unsupported()
	default:
		return false, refusal("Query condition missed key schema element: %s", c.firstMissing())
	}
	if *seen {
		return false, refusal("KeyConditionExpressions must only contain one condition per key")
	}
	*seen = true
	return isSort, nil
}

func (c *keyCollector) firstMissing() string {
	if !c.seenPartition {
		return c.partition
	}
	return c.sort
}

func (c *keyCollector) relation(n comparison) error {
	isSort, err := c.claim(n.left)
	if err != nil {
		return err
	}
	v, ok := n.right.(literal)
	switch {
	case !ok || n.operator == "<>":
		return unsupported()
	case !isSort && n.operator != "=":
		return unsupported()
	case !isSort:
		c.out.Partition = v.value
		return nil
	}
	if n.operator != "<" && n.operator != "<=" {
		c.out.From, c.out.FromOpen = &v.value, n.operator == ">"
	}
	if n.operator != ">" && n.operator != ">=" {
		c.out.To, c.out.ToOpen = &v.value, n.operator == "<"
	}
	return nil
}

func (c *keyCollector) between(n between) error {
	isSort, err := c.claim(n.value)
	if err != nil {
		return err
	}
	low, lowFixed := n.low.(literal)
	high, highFixed := n.high.(literal)
	if !isSort || !lowFixed || !highFixed {
		return unsupported()
	}
	c.out.From, c.out.To = &low.value, &high.value
	return nil
}

func (c *keyCollector) prefix(n beginsWith) error {
	isSort, err := c.claim(n.value)
	if err != nil {
		return err
	}
	v, ok := n.prefix.(literal)
	if !isSort || !ok {
		return unsupported()
	}
	c.out.Prefix, c.out.From = &v.value, &v.value
	return nil
}

// Kinds refuses conditions whose values are of another kind than the table's keys.
func (c *KeyCondition) Kinds(partition, sort attr.Kind) error {
	if c.Partition.Kind != partition {
		return mismatch()
	}
	for _, v := range []*attr.Value{c.From, c.To, c.Prefix} {
		if v != nil && v.Kind != sort {
			return mismatch()
		}
	}
	return nil
}

func mismatch() error {
	return refusal("One or more parameter values were invalid: Condition parameter type does not match schema type")
}

// Includes reports whether a sort key lies in the condition's range.
func (c *KeyCondition) Includes(sort attr.Value) bool {
	return !c.Below(sort) && !c.Above(sort)
}

// Below reports whether sort comes before the range.
func (c *KeyCondition) Below(sort attr.Value) bool {
	if c.From == nil {
		return false
	}
	order := attr.Compare(sort, *c.From)
	return order < 0 || order == 0 && c.FromOpen
}

// Above reports whether sort comes after the range.
func (c *KeyCondition) Above(sort attr.Value) bool {
	if c.Prefix != nil {
		return sort.Text > c.Prefix.Text && !strings.HasPrefix(sort.Text, c.Prefix.Text)
	}
	if c.To == nil {
		return false
	}
	order := attr.Compare(sort, *c.To)
	return order > 0 || order == 0 && c.ToOpen
}
