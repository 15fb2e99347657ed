// Package attr holds DynamoDB attribute values: their JSON form, their numbers, their sizes and their order.
//
// Values are immutable once made: every change builds a new value, so that a table may hand one out and go on without copying it.
package attr

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Kind is the type of a value, by its name on the wire.
type Kind string

// The ten kinds of value that DynamoDB knows.
const (
	String    Kind = "S"
	Number    Kind = "N"
	Binary    Kind = "B"
	Bool      Kind = "BOOL"
	Null      Kind = "NULL"
	List      Kind = "L"
	Map       Kind = "M"
	StringSet Kind = "SS"
	NumberSet Kind = "NS"
	BinarySet Kind = "BS"
)

// maxDepth is how deep lists and maps may nest.
const maxDepth = 32

// Value is one attribute value. The zero value is no value at all and is never stored.
type Value struct {
	Kind   Kind
	Truth  bool    // of a Bool
	Text   string  // of a String, a Number in canonical form, or the raw bytes of a Binary
	Elems  []Value // of a List in order, or of a set, sorted
	Fields Item    // of a Map
}

// Item is a map of attributes: a whole item, or the inside of a Map.
type Item map[string]Value

// Error is a value that DynamoDB refuses; its text is the service's own sentence.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

func refusal(format string, args ...any) error {
	return &Error{Message: fmt.Sprintf(format, args...)}
}

// Text makes a String.
func Text(s string) Value { return Value{Kind: String, Text: s} }

// Kinds lists every kind, for attribute_type.
func Kinds() []Kind {
	return []Kind{String, Number, Binary, Bool, Null, List, Map, StringSet, NumberSet, BinarySet}
}

// element returns the kind of a set's members, and "" for what is not a set.
func (k Kind) element() Kind {
	switch k {
	case StringSet:
		return String
	case NumberSet:
		return Number
	case BinarySet:
		return Binary
	default:
		return ""
	}
}

// IsSet reports whether k is one of the three set kinds.
func (k Kind) IsSet() bool { return k.element() != "" }

// Ordered reports whether values of kind k can be compared with less and greater.
func (k Kind) Ordered() bool { return k == String || k == Number || k == Binary }

// NewSet makes a set of the given kind; it refuses an empty one and one with duplicates. It owns elems afterwards.
func NewSet(k Kind, elems []Value) (Value, error) {
	if len(elems) == 0 {
		return Value{}, refusal("One or more parameter values were invalid: An %s set may not be empty", setName(k))
	}
	slices.SortFunc(elems, Compare)
	for i := 1; i < len(elems); i++ {
		if Equal(elems[i-1], elems[i]) {
			return Value{}, refusal("One or more parameter values were invalid: Input collection contains duplicates.")
		}
	}
	return Value{Kind: k, Elems: elems}, nil
}

func setName(k Kind) string {
	switch k {
	case NumberSet:
		return "number"
	case BinarySet:
		return "binary"
	default:
		return "string"
	}
}

// Equal reports whether a and b are the same value: numbers by magnitude, sets without order.
func Equal(a, b Value) bool {
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case Bool:
		return a.Truth == b.Truth
	case Map:
		return EqualItems(a.Fields, b.Fields)
	case String, Number, Binary:
		return a.Text == b.Text
	default:
		return slices.EqualFunc(a.Elems, b.Elems, Equal)
	}
}

// EqualItems reports whether a and b hold the same attributes.
func EqualItems(a, b Item) bool {
	if len(a) != len(b) {
		return false
	}
	for name, v := range a {
		w, ok := b[name]
		if !ok || !Equal(v, w) {
			return false
		}
	}
	return true
}

// Compare orders two values of one ordered kind: numbers by magnitude, strings and binaries by bytes.
// For values of different or unordered kinds it only promises a total order.
func Compare(a, b Value) int {
	switch {
	case a.Kind != b.Kind:
		return cmp.Compare(a.Kind, b.Kind)
	case a.Kind == Number:
		return mustDecimal(a.Text).compare(mustDecimal(b.Text))
	default:
		return strings.Compare(a.Text, b.Text)
	}
}

// Contains reports whether set or list v has the element e.
func (v Value) Contains(e Value) bool {
	return slices.ContainsFunc(v.Elems, func(x Value) bool { return Equal(x, e) })
}
