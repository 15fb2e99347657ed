package pattern

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// leaf judges the values of one field; there are none when the field is missing.
type leaf func(values []any) bool

// anyValue is a leaf that holds when one value passes.
func anyValue(pass func(any) bool) leaf {
	return func(values []any) bool { return slices.ContainsFunc(values, pass) }
}

// anyText is a leaf that holds when one value is a string that passes.
func anyText(pass func(string) bool) leaf {
	return anyValue(func(v any) bool {
		s, ok := v.(string)
		return ok && pass(s)
	})
}

func parseLeaf(raw any) (leaf, error) {
	switch v := raw.(type) {
	case map[string]any:
		return parseMatcher(v)
	case []any:
		return nil, fmt.Errorf("arrays inside an array are not allowed")
	default:
		return anyValue(func(have any) bool { return reflect.DeepEqual(have, raw) }), nil
	}
}

func parseMatcher(raw map[string]any) (leaf, error) {
	if len(raw) != 1 {
		return nil, fmt.Errorf("only one key allowed in match expression")
	}
	for name, argument := range raw {
		switch name {
		case "exists":
			return parseExists(argument)
		case "numeric":
			return parseNumeric(argument)
		case "anything-but":
			return parseAnythingBut(argument)
		case "cidr":
			return parseCIDR(argument)
		default:
			pass, err := parseText(name, argument)
			if err != nil {
				return nil, err
			}
			return anyText(pass), nil
		}
	}
	return nil, nil
}

func parseExists(argument any) (leaf, error) {
	want, ok := argument.(bool)
	if !ok {
		return nil, fmt.Errorf("exists match pattern must be either true or false")
	}
	return func(values []any) bool { return (len(values) > 0) == want }, nil
}

// parseText reads the matchers of strings.
func parseText(name string, argument any) (func(string) bool, error) {
	if inner, ok := argument.(map[string]any); ok && (name == "prefix" || name == "suffix") {
		return parseFoldedAffix(name, inner)
	}
	want, ok := argument.(string)
	if !ok {
		return nil, fmt.Errorf("%s match pattern must be a string", name)
	}
	switch name {
	case "prefix":
		return func(s string) bool { return strings.HasPrefix(s, want) }, nil
	case "suffix":
		return func(s string) bool { return strings.HasSuffix(s, want) }, nil
	case "equals-ignore-case":
		return func(s string) bool { return strings.EqualFold(s, want) }, nil
	case "wildcard":
		return parseWildcard(want)
	default:
		return nil, fmt.Errorf("unrecognized match type %s", name)
	}
}

// parseFoldedAffix reads {"prefix": {"equals-ignore-case": …}} and the same for suffix.
func parseFoldedAffix(name string, inner map[string]any) (func(string) bool, error) {
	want, ok := inner["equals-ignore-case"].(string)
	if !ok || len(inner) != 1 {
		return nil, fmt.Errorf("%s match pattern must be a string or equals-ignore-case", name)
	}
	want = strings.ToLower(want)
	if name == "prefix" {
		return func(s string) bool { return strings.HasPrefix(strings.ToLower(s), want) }, nil
	}
	return func(s string) bool { return strings.HasSuffix(strings.ToLower(s), want) }, nil
}

// parseAnythingBut reads a value, a list of values, or one matcher of strings with a value or a list.
func parseAnythingBut(argument any) (leaf, error) {
	if inner, ok := argument.(map[string]any); ok {
		return parseAnythingButText(inner)
	}
	unwanted, ok := argument.([]any)
	if !ok {
		unwanted = []any{argument}
	}
	if len(unwanted) == 0 {
		return nil, fmt.Errorf("empty arrays are not allowed")
	}
	for _, v := range unwanted {
		switch v.(type) {
		case string, json.Number:
		default:
			return nil, fmt.Errorf("anything-but: only numbers and strings are allowed")
		}
	}
	return anyValue(func(have any) bool {
		return !slices.ContainsFunc(unwanted, func(v any) bool { return reflect.DeepEqual(v, have) })
	}), nil
}

func parseAnythingButText(inner map[string]any) (leaf, error) {
	if len(inner) != 1 {
		return nil, fmt.Errorf("anything-but: only one key allowed in match expression")
	}
	var unwanted []func(string) bool
	for name, argument := range inner {
		arguments, ok := argument.([]any)
		if !ok {
			arguments = []any{argument}
		}
		for _, a := range arguments {
			pass, err := parseText(name, a)
			if err != nil {
				return nil, err
			}
			unwanted = append(unwanted, pass)
		}
	}
	return anyValue(func(have any) bool {
		s, ok := have.(string)
		return !ok || !slices.ContainsFunc(unwanted, func(pass func(string) bool) bool { return pass(s) })
	}), nil
}

func parseCIDR(argument any) (leaf, error) {
	text, _ := argument.(string)
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, fmt.Errorf("malformed CIDR %q", text)
	}
	return anyText(func(s string) bool {
		address, err := netip.ParseAddr(s)
		return err == nil && network.Contains(address)
	}), nil
}

// parseWildcard reads a pattern in which * stands for any text and a backslash takes the next * or backslash as it is.
func parseWildcard(text string) (func(string) bool, error) {
	var parts []string // the literal texts between the stars
	var literal strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && (i+1 == len(text) || text[i+1] != '*' && text[i+1] != '\\'):
			return nil, fmt.Errorf("invalid escape character at pos %d", i)
		case text[i] == '\\':
			i++
			literal.WriteByte(text[i])
		case text[i] == '*' && i > 0 && text[i-1] == '*' && literal.Len() == 0:
			return nil, fmt.Errorf("consecutive wildcard characters at pos %d", i-1)
		case text[i] == '*':
			parts = append(parts, literal.String())
			literal.Reset()
		default:
			literal.WriteByte(text[i])
		}
	}
	parts = append(parts, literal.String())
	return func(s string) bool { return matchesParts(parts, s) }, nil
}

func matchesParts(parts []string, s string) bool {
	if len(parts) == 1 {
		return s == parts[0]
	}
	first, middle, last := parts[0], parts[1:len(parts)-1], parts[len(parts)-1]
	rest, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	for _, part := range middle {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, last)
}
