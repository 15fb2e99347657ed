// Package pattern matches events against EventBridge event patterns.
//
// It knows exact values, nesting, $or, prefix, suffix, equals-ignore-case, wildcard, anything-but, exists, numeric and cidr. What it
// does not know it refuses at Parse, as the service does. Numbers are compared by their digits, except by numeric, also as there.
package pattern

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// maxLength is how long a pattern may be.
const maxLength = 2048

// Pattern is a parsed pattern. Safe for concurrent use.
type Pattern struct{ root object }

// object matches the fields of a JSON object: all of its fields, and one of each group of alternatives.
type object struct {
	fields map[string]node
	or     []object
}

// node is what a field must match: an object, or one of several leaves.
type node struct {
	object *object
	leaves []leaf
}

// Parse reads a pattern; the error says what the service would not accept.
func Parse(text string) (*Pattern, error) {
	if len(text) > maxLength {
		return nil, fmt.Errorf("the pattern is longer than %d characters", maxLength)
	}
	raw, err := decode([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("reading the pattern: %w", err)
	}
	root, ok := raw.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("filter is not an object")
	}
	o, err := parseObject(root)
	if err != nil {
		return nil, err
	}
	return &Pattern{o}, nil
}

// decode reads one JSON value, numbers as they are written.
func decode(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one value")
	}
	return v, nil
}

func parseObject(raw map[string]any) (object, error) {
	if len(raw) == 0 {
		return object{}, fmt.Errorf("empty objects are not allowed")
	}
	o := object{fields: map[string]node{}}
	for name, value := range raw {
		if alternatives, ok := value.([]any); ok && name == "$or" && allObjects(alternatives) {
			or, err := parseAlternatives(alternatives)
			if err != nil {
				return object{}, err
			}
			o.or = or
			continue
		}
		n, err := parseNode(name, value)
		if err != nil {
			return object{}, err
		}
		o.fields[name] = n
	}
	return o, nil
}

func allObjects(values []any) bool {
	return len(values) > 1 && !slices.ContainsFunc(values, func(v any) bool {
		_, ok := v.(map[string]any)
		return !ok
	})
}

func parseAlternatives(raw []any) ([]object, error) {
	var out []object
	for _, r := range raw {
		o, err := parseObject(r.(map[string]any))
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

func parseNode(name string, raw any) (node, error) {
	switch v := raw.(type) {
	case map[string]any:
		o, err := parseObject(v)
		return node{object: &o}, err
	case []any:
		if len(v) == 0 {
			return node{}, fmt.Errorf("empty arrays are not allowed")
		}
		var n node
		for _, r := range v {
			l, err := parseLeaf(r)
			if err != nil {
				return node{}, fmt.Errorf("%q: %w", name, err)
			}
			n.leaves = append(n.leaves, l)
		}
		return n, nil
	default:
		return node{}, fmt.Errorf("%q must be an object or an array", name)
	}
}

// Matches reports whether event, a JSON object, matches. What is no JSON object never does.
func (p *Pattern) Matches(event []byte) bool {
	raw, err := decode(event)
	if err != nil {
		return false
	}
	fields, ok := raw.(map[string]any)
	return ok && p.root.matches(fields)
}

func (o object) matches(fields map[string]any) bool {
	for name, n := range o.fields {
		value, present := fields[name]
		if !n.matches(value, present) {
			return false
		}
	}
	return len(o.or) == 0 || slices.ContainsFunc(o.or, func(alternative object) bool { return alternative.matches(fields) })
}

func (n node) matches(value any, present bool) bool {
	if n.object != nil {
		return n.object.matchesIn(value)
	}
	values := scalars(value, present)
	return slices.ContainsFunc(n.leaves, func(l leaf) bool { return l(values) })
}

// matchesIn looks for an object that matches: the value, or an element of it. What is missing counts as an object without fields, so
// that exists can ask for absence at any depth.
func (o object) matchesIn(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		return o.matches(v)
	case []any:
		return slices.ContainsFunc(v, o.matchesIn)
	default:
		return o.matches(nil)
	}
}

// scalars lists the leaf values that a field holds: itself or, of an array, the elements. An object is no leaf.
func scalars(value any, present bool) []any {
	switch v := value.(type) {
	case map[string]any:
		return nil
	case []any:
		var out []any
		for _, element := range v {
			out = append(out, scalars(element, true)...)
		}
		return out
	default:
		if !present {
			return nil
		}
		return []any{value}
	}
}
