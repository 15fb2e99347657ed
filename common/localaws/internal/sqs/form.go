package sqs

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// fromForm turns a request of the query protocol into the JSON that newer clients would send.
func fromForm(form url.Values) []byte {
	doc := map[string]any{}
	for name := range form {
		if !strings.Contains(name, ".") && !slices.Contains([]string{"Action", "Version"}, name) {
			doc[name] = scalar(name, form.Get(name))
		}
	}
	for _, list := range []string{"AttributeName", "MessageSystemAttributeName", "MessageAttributeName", "TagKey"} {
		if values := numbered(form, list); values != nil {
			doc[list+"s"] = values
		}
	}
	if m := pairs(form, "Attribute", "Name"); m != nil {
		doc["Attributes"] = m
	}
	if m := pairs(form, "Tag", "Key"); m != nil {
		doc[tagsMember(form.Get("Action"))] = m
	}
	if m := attributesFromForm(form, ""); m != nil {
		doc["MessageAttributes"] = m
	}
	if e := entries(form); e != nil {
		doc["Entries"] = e
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return nil
	}
	return body
}

// tagsMember is the name of the tags, which CreateQueue spells differently.
func tagsMember(action string) string {
	if action == "CreateQueue" {
		return "tags"
	}
	return "Tags"
}

// scalar gives numbers their type.
func scalar(name, value string) any {
	switch name {
	case "DelaySeconds", "MaxNumberOfMessages", "VisibilityTimeout", "WaitTimeSeconds", "MaxResults":
		if n, err := strconv.Atoi(value); err == nil {
			return n
		}
	}
	return value
}

func numbered(form url.Values, name string) []string {
	var out []string
	for i := 1; form.Has(name + "." + strconv.Itoa(i)); i++ {
		out = append(out, form.Get(name+"."+strconv.Itoa(i)))
	}
	return out
}

// pairs reads Attribute.1.Name, Attribute.1.Value and so on.
func pairs(form url.Values, name, key string) map[string]string {
	var out map[string]string
	for i := 1; ; i++ {
		prefix := name + "." + strconv.Itoa(i) + "."
		if !form.Has(prefix + key) {
			return out
		}
		if out == nil {
			out = map[string]string{}
		}
		out[form.Get(prefix+key)] = form.Get(prefix + "Value")
	}
}

// entries reads DeleteMessageBatchRequestEntry.1.Id and so on.
func entries(form url.Values) []map[string]any {
	name := form.Get("Action") + "RequestEntry."
	var out []map[string]any
	for i := 1; ; i++ {
		prefix := name + strconv.Itoa(i) + "."
		entry := map[string]any{}
		for key := range form {
			if member, ok := strings.CutPrefix(key, prefix); ok && !strings.Contains(member, ".") {
				entry[member] = scalar(member, form.Get(key))
			}
		}
		if len(entry) == 0 {
			return out
		}
		if m := attributesFromForm(form, prefix); m != nil {
			entry["MessageAttributes"] = m
		}
		out = append(out, entry)
	}
}

// attributesFromForm reads MessageAttribute.1.Name, MessageAttribute.1.Value.DataType and so on.
func attributesFromForm(form url.Values, prefix string) map[string]map[string]string {
	var out map[string]map[string]string
	for i := 1; ; i++ {
		at := prefix + "MessageAttribute." + strconv.Itoa(i) + "."
		if !form.Has(at + "Name") {
			return out
		}
		if out == nil {
			out = map[string]map[string]string{}
		}
		value := map[string]string{}
		for _, member := range []string{"DataType", "StringValue", "BinaryValue"} {
			if form.Has(at + "Value." + member) {
				value[member] = form.Get(at + "Value." + member)
			}
		}
		out[form.Get(at+"Name")] = value
	}
}
