package pattern

import (
	"encoding/json"
	"fmt"
	"math"
)

// maxNumber bounds the numbers that numeric compares.
const maxNumber = 5e9

// bound is one comparison, for example "below 5".
type bound func(x float64) bool

// parseNumeric reads ["=", x] or one or two of "<", "<=", ">", ">=", each with its number.
func parseNumeric(argument any) (leaf, error) {
	parts, ok := argument.([]any)
	if !ok || len(parts) != 2 && len(parts) != 4 {
		return nil, fmt.Errorf("value of numeric must be an array of one or two comparisons")
	}
	var bounds []bound
	for i := 0; i < len(parts); i += 2 {
		b, err := parseBound(parts[i], parts[i+1])
		if err != nil {
			return nil, err
		}
		bounds = append(bounds, b)
	}
	return anyValue(func(v any) bool {
		n, ok := v.(json.Number)
		if !ok {
			return false
		}
		x, err := n.Float64()
		if err != nil || math.Abs(x) > maxNumber {
			return false
		}
		for _, b := range bounds {
			if !b(x) {
				return false
			}
		}
		return true
	}), nil
}

func parseBound(operator, number any) (bound, error) {
	n, ok := number.(json.Number)
	if !ok {
		return nil, fmt.Errorf("value of %v must be numeric", operator)
	}
	limit, err := n.Float64()
	if err != nil || math.Abs(limit) > maxNumber {
		return nil, fmt.Errorf("value must be between -5.0e9 and +5.0e9, inclusive")
	}
	switch operator {
	case "=":
		return func(x float64) bool { return x == limit }, nil
	case "<":
		return func(x float64) bool { return x < limit }, nil
	case "<=":
		return func(x float64) bool { return x <= limit }, nil
	case ">":
		return func(x float64) bool { return x > limit }, nil
	case ">=":
		return func(x float64) bool { return x >= limit }, nil
	default:
		return nil, fmt.Errorf("unrecognized numeric range operator %v", operator)
	}
}
