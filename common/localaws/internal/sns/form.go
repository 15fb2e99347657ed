package sns

import (
	"encoding/base64"
	"encoding/xml"
	"maps"
	"net/url"
	"slices"
	"strconv"

	"github.com/rotatessh/rotatessh/common/localaws/internal/sqs"
)

// entries reads Attributes.entry.1.key, Attributes.entry.1.value and so on.
func entries(form url.Values, name string) map[string]string {
	out := map[string]string{}
	for i := 1; form.Has(name + ".entry." + strconv.Itoa(i) + ".key"); i++ {
		prefix := name + ".entry." + strconv.Itoa(i)
		out[form.Get(prefix+".key")] = form.Get(prefix + ".value")
	}
	return out
}

// messageAttributes reads MessageAttributes.entry.1.Name, MessageAttributes.entry.1.Value.DataType and so on.
func messageAttributes(form url.Values) (map[string]sqs.Attribute, error) {
	var out map[string]sqs.Attribute
	for i := 1; form.Has("MessageAttributes.entry." + strconv.Itoa(i) + ".Name"); i++ {
		prefix := "MessageAttributes.entry." + strconv.Itoa(i)
		a := sqs.Attribute{DataType: form.Get(prefix + ".Value.DataType"), StringValue: form.Get(prefix + ".Value.StringValue")}
		blob, err := base64.StdEncoding.DecodeString(form.Get(prefix + ".Value.BinaryValue"))
		if err != nil {
			return nil, invalid("MessageAttributes Reason: %v", err)
		}
		if len(blob) > 0 {
			a.BinaryValue = blob
		}
		if out == nil {
			out = map[string]sqs.Attribute{}
		}
		out[form.Get(prefix+".Name")] = a
	}
	return out, nil
}

// attributesXML is a map that clients read as <Attributes><entry><key/><value/></entry></Attributes>.
type attributesXML map[string]string

// MarshalXML writes the entries in the order of their keys.
func (m attributesXML) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	type entry struct {
		Key   string `xml:"key"`
		Value string `xml:"value"`
	}
	var doc struct {
		Entries []entry `xml:"entry"`
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		doc.Entries = append(doc.Entries, entry{k, m[k]})
	}
	return e.EncodeElement(doc, start)
}

// page reads NextToken, a number that the previous page ended with.
func page(form url.Values) (int, error) {
	token := form.Get("NextToken")
	if token == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(token)
	if err != nil || n < 0 {
		return 0, invalid("NextToken")
	}
	return n, nil
}
