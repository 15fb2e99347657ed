package policy

import (
	"fmt"
	"slices"
	"strings"
)

// condition compares one condition key with the values of a statement.
type condition struct {
	operator string // without IfExists
	ifExists bool
	key      string // lower case: IAM's keys have no case
	values   []string
}

func newCondition(operator, key string, values []any) condition {
	c := condition{key: strings.ToLower(key)}
	c.operator, c.ifExists = strings.CutSuffix(operator, "IfExists")
	for _, v := range values {
		c.values = append(c.values, fmt.Sprint(v))
	}
	return c
}

// value returns what the request has for the key; "" means that it has nothing.
func (c condition) value(r Request) string {
	switch c.key {
	case "aws:sourcearn":
		return r.SourceARN
	case "aws:sourceaccount":
		return r.Account
	case "aws:securetransport":
		return "true"
	default:
		return ""
	}
}

// holds evaluates the condition. One that is not understood holds exactly when its statement denies.
func (c condition) holds(r Request, deny bool) bool {
	have := c.value(r)
	if c.operator == "Null" {
		return slices.Contains(c.values, fmt.Sprint(have == ""))
	}
	compare, negated := comparer(strings.TrimPrefix(c.operator, "ForAnyValue:"))
	switch {
	case compare == nil:
		return deny
	case have == "":
		return c.ifExists || negated
	default:
		return slices.ContainsFunc(c.values, func(v string) bool { return compare(v, have) }) != negated
	}
}

// comparer returns how an operator compares a value of the policy with one of the request, nil if it is unknown.
func comparer(operator string) (compare func(pattern, have string) bool, negated bool) {
	switch operator {
	case "StringEquals":
		return equal, false
	case "StringNotEquals":
		return equal, true
	case "StringEqualsIgnoreCase", "Bool":
		return strings.EqualFold, false
	case "StringLike":
		return Like, false
	case "StringNotLike":
		return Like, true
	case "ArnEquals", "ArnLike":
		return arnLike, false
	case "ArnNotEquals", "ArnNotLike":
		return arnLike, true
	default:
		return nil, false
	}
}

func equal(a, b string) bool { return a == b }

// arnLike matches each of an ARN's six parts by itself: a wildcard does not reach over a colon among the first five.
func arnLike(pattern, arn string) bool {
	const parts = 6
	p, a := strings.SplitN(pattern, ":", parts), strings.SplitN(arn, ":", parts)
	return len(p) == parts && len(a) == parts && slices.EqualFunc(p, a, Like)
}
