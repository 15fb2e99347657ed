package attr

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"
)

// UnmarshalJSON reads the wire form {"S":"…"}, {"N":"1"} and so on; an *Error says what DynamoDB would refuse.
func (v *Value) UnmarshalJSON(data []byte) error {
	decoded, err := decodeValue(data, 0)
	*v = decoded
	return err
}

func decodeValue(data []byte, depth int) (Value, error) {
	if depth > maxDepth {
		return Value{}, refusal("Nesting Levels have exceeded supported limits")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return Value{}, err
	}
	if len(members) > 1 {
		return Value{}, refusal("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
	}
	for name, raw := range members {
		if k := Kind(name); slices.Contains(Kinds(), k) {
			return decodeKind(k, raw, depth)
		}
	}
	return Value{}, refusal("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
}

func decodeKind(k Kind, raw json.RawMessage, depth int) (Value, error) {
	switch k {
	case Bool, Null:
		return decodeFlag(k, raw)
	case List:
		return decodeList(raw, depth)
	case Map:
		return decodeMap(raw, depth)
	case StringSet, NumberSet, BinarySet:
		return decodeSet(k, raw)
	default:
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return Value{}, err
		}
		return decodeScalar(k, s)
	}
}

func decodeFlag(k Kind, raw json.RawMessage) (Value, error) {
	var b bool
	if err := json.Unmarshal(raw, &b); err != nil {
		return Value{}, err
	}
	if k == Null && !b {
		return Value{}, refusal("One or more parameter values were invalid: Null attribute value types must have the value of true")
	}
	return Value{Kind: k, Truth: b}, nil
}

func decodeScalar(k Kind, s string) (Value, error) {
	switch k {
	case Number:
		return NewNumber(s)
	case Binary:
		b, err := base64.StdEncoding.DecodeString(s)
		return Value{Kind: Binary, Text: string(b)}, err
	default:
		return Text(s), nil
	}
}

func decodeSet(k Kind, raw json.RawMessage) (Value, error) {
	var texts []string
	if err := json.Unmarshal(raw, &texts); err != nil {
		return Value{}, err
	}
	elems := make([]Value, 0, len(texts))
	for _, s := range texts {
		e, err := decodeScalar(k.element(), s)
		if err != nil {
			return Value{}, err
		}
		elems = append(elems, e)
	}
	return NewSet(k, elems)
}

func decodeList(raw json.RawMessage, depth int) (Value, error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		return Value{}, err
	}
	v := Value{Kind: List, Elems: make([]Value, 0, len(parts))}
	for _, part := range parts {
		e, err := decodeValue(part, depth+1)
		if err != nil {
			return Value{}, err
		}
		v.Elems = append(v.Elems, e)
	}
	return v, nil
}

func decodeMap(raw json.RawMessage, depth int) (Value, error) {
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		return Value{}, err
	}
	v := Value{Kind: Map, Fields: make(Item, len(parts))}
	for name, part := range parts {
		e, err := decodeValue(part, depth+1)
		if err != nil {
			return Value{}, err
		}
		v.Fields[name] = e
	}
	return v, nil
}

// MarshalJSON writes the wire form.
func (v Value) MarshalJSON() ([]byte, error) { return appendValue(nil, v), nil }

// MarshalJSON writes the wire form of all attributes.
func (it Item) MarshalJSON() ([]byte, error) {
	if it == nil {
		return []byte("null"), nil
	}
	return appendItem(make([]byte, 0, 64*len(it)), it), nil
}

func appendItem(dst []byte, it Item) []byte {
	dst = append(dst, '{')
	for name, v := range it {
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = appendString(dst, name)
		dst = append(dst, ':')
		dst = appendValue(dst, v)
	}
	return append(dst, '}')
}

func appendValue(dst []byte, v Value) []byte {
	dst = append(dst, '{', '"')
	dst = append(dst, v.Kind...)
	dst = append(dst, '"', ':')
	switch v.Kind {
	case Bool, Null:
		dst = strconv.AppendBool(dst, v.Truth)
	case Map:
		dst = appendItem(dst, v.Fields)
	case List, StringSet, NumberSet, BinarySet:
		dst = appendElems(dst, v)
	default:
		dst = appendScalar(dst, v)
	}
	return append(dst, '}')
}

func appendElems(dst []byte, v Value) []byte {
	dst = append(dst, '[')
	for i, e := range v.Elems {
		if i > 0 {
			dst = append(dst, ',')
		}
		if v.Kind == List {
			dst = appendValue(dst, e)
		} else {
			dst = appendScalar(dst, e)
		}
	}
	return append(dst, ']')
}

func appendScalar(dst []byte, v Value) []byte {
	if v.Kind != Binary {
		return appendString(dst, v.Text)
	}
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, []byte(v.Text))
	return append(dst, '"')
}

// appendString quotes s; the common case of plain ASCII needs no second look.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
