package sqs

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
)

// Attribute is one message attribute.
type Attribute struct {
	DataType    string
	StringValue string `json:",omitempty"`
	BinaryValue []byte `json:",omitempty"`
}

func (a Attribute) value() []byte {
	if a.binary() {
		return a.BinaryValue
	}
	return []byte(a.StringValue)
}

func (a Attribute) binary() bool { return strings.HasPrefix(a.DataType, "Binary") }

// md5OfAttributes is the checksum over all attributes by SQS's own encoding; "" for none.
func md5OfAttributes(attributes map[string]Attribute) string {
	if len(attributes) == 0 {
		return ""
	}
	var b []byte
	add := func(part string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		a := attributes[name]
		add(name)
		add(a.DataType)
		if a.binary() {
			b = append(b, 2)
		} else {
			b = append(b, 1)
		}
		add(string(a.value()))
	}
	return md5Hex(string(b))
}
