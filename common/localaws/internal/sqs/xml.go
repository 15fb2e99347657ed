package sqs

import (
	"encoding/base64"
	"encoding/xml"
	"maps"
	"slices"
)

// attributeMap is a map that query clients read as repeated <Attribute><Name/><Value/></Attribute>.
type attributeMap map[string]string

// MarshalXML writes one element for each entry, named as the member is.
func (m attributeMap) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		pair := struct{ Name, Value string }{name, m[name]}
		if err := e.EncodeElement(pair, start); err != nil {
			return err
		}
	}
	return nil
}

// tagMap is a map that query clients read as repeated <Tag><Key/><Value/></Tag>.
type tagMap map[string]string

// MarshalXML writes one element for each entry, named as the member is.
func (m tagMap) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		pair := struct{ Key, Value string }{key, m[key]}
		if err := e.EncodeElement(pair, start); err != nil {
			return err
		}
	}
	return nil
}

// messageAttributeMap is a map that query clients read as repeated <MessageAttribute><Name/><Value/></MessageAttribute>.
type messageAttributeMap map[string]Attribute

// MarshalXML writes one element for each entry, named as the member is.
func (m messageAttributeMap) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		a := m[name]
		value := attributeXML{a.DataType, a.StringValue, base64.StdEncoding.EncodeToString(a.BinaryValue)}
		pair := struct {
			Name  string
			Value attributeXML
		}{name, value}
		if err := e.EncodeElement(pair, start); err != nil {
			return err
		}
	}
	return nil
}

type attributeXML struct {
	DataType    string
	StringValue string `xml:",omitempty"`
	BinaryValue string `xml:",omitempty"`
}
