// Package expr parses and evaluates DynamoDB's expressions: condition and filter, key condition, update and projection.
//
// A Scope carries one request's placeholders; it refuses what the service refuses (reserved words, undefined or unused
// placeholders, overlapping update paths, operands of a wrong type) with the service's own sentences as *Error.
package expr

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
)

// maxLength is the longest expression that DynamoDB reads, in bytes.
const maxLength = 4096

// Error is an expression that DynamoDB refuses, or one that it cannot apply to an item.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

func refusal(format string, args ...any) error {
	return &Error{Message: fmt.Sprintf(format, args...)}
}

// Scope holds the placeholders of one request and remembers which of them its expressions used. Not for concurrent use.
type Scope struct {
	names      map[string]string
	values     map[string]attr.Value
	usedNames  map[string]bool
	usedValues map[string]bool
}

// NewScope makes a scope of ExpressionAttributeNames and ExpressionAttributeValues.
func NewScope(names map[string]string, values map[string]attr.Value) *Scope {
	return &Scope{names: names, values: values, usedNames: map[string]bool{}, usedValues: map[string]bool{}}
}

// Finish refuses placeholders that no expression parsed so far has used.
func (s *Scope) Finish() error {
	if unused := missing(maps.Keys(s.names), s.usedNames); unused != "" {
		return refusal("Value provided in ExpressionAttributeNames unused in expressions: keys: {%s}", unused)
	}
	if unused := missing(maps.Keys(s.values), s.usedValues); unused != "" {
		return refusal("Value provided in ExpressionAttributeValues unused in expressions: keys: {%s}", unused)
	}
	return nil
}

func missing(given func(func(string) bool), used map[string]bool) string {
	var unused []string
	for key := range given {
		if !used[key] {
			unused = append(unused, key)
		}
	}
	slices.Sort(unused)
	return strings.Join(unused, ", ")
}

func (s *Scope) name(placeholder string) (string, error) {
	name, ok := s.names[placeholder]
	if !ok {
		return "", refusal("An expression attribute name used in the document path is not defined; attribute name: %s", placeholder)
	}
	s.usedNames[placeholder] = true
	return name, nil
}

func (s *Scope) value(placeholder string) (attr.Value, error) {
	v, ok := s.values[placeholder]
	if !ok {
		return attr.Value{}, refusal("An expression attribute value used in expression is not defined; attribute value: %s", placeholder)
	}
	s.usedValues[placeholder] = true
	return v, nil
}

// named puts "Invalid ConditionExpression: " and its like before the refusals of one expression.
func named(kind string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return refusal("Invalid %s: %s", kind, e.Message)
	}
	return err
}
