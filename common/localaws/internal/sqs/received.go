package sqs

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// received is a message as a receive returns it.
type received struct {
	MessageId              string
	ReceiptHandle          string
	MD5OfBody              string
	Body                   string
	Attributes             attributeMap        `json:",omitempty" xml:"Attribute"`
	MD5OfMessageAttributes string              `json:",omitempty" xml:",omitempty"`
	MessageAttributes      messageAttributeMap `json:",omitempty" xml:"MessageAttribute"`
}

func (q *queue) received(m *message, in *receiveInput) received {
	out := received{
		MessageId: m.id, ReceiptHandle: q.handle(m), MD5OfBody: m.md5, Body: m.body,
		Attributes:        m.systemAttributes(slices.Concat(in.AttributeNames, in.MessageSystemAttributeNames)),
		MessageAttributes: m.chosenAttributes(in.MessageAttributeNames),
	}
	out.MD5OfMessageAttributes = md5OfAttributes(out.MessageAttributes)
	return out
}

func (m *message) systemAttributes(names []string) attributeMap {
	all := attributeMap{
		"SenderId":                         m.sender,
		"SentTimestamp":                    millis(m.sent),
		"ApproximateReceiveCount":          strconv.Itoa(m.receives),
		"ApproximateFirstReceiveTimestamp": millis(m.first),
	}
	if slices.Contains(names, "All") {
		return all
	}
	out := attributeMap{}
	for _, name := range names {
		if value, ok := all[name]; ok {
			out[name] = value
		}
	}
	return out
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// chosenAttributes picks message attributes by name; All, .* and prefix.* choose several.
func (m *message) chosenAttributes(names []string) messageAttributeMap {
	out := messageAttributeMap{}
	for name, a := range m.attributes {
		if slices.ContainsFunc(names, func(want string) bool {
			prefix, isPrefix := strings.CutSuffix(want, ".*")
			return want == "All" || want == name || isPrefix && strings.HasPrefix(name, prefix)
		}) {
			out[name] = a
		}
	}
	return out
}

// handle makes the receipt handle of a message's present receive.
func (q *queue) handle(m *message) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s %s %d", q.arn, m.id, m.receives))
}

// byHandle finds the message of a handle. A handle that an earlier receive gave, or whose message is deleted, finds none, which is no
// fault; one that is not of this queue is.
func (q *queue) byHandle(handle string) (*message, error) {
	raw, err := base64.StdEncoding.DecodeString(handle)
	parts := strings.Split(string(raw), " ")
	if err != nil || len(parts) != 3 || parts[0] != q.arn {
		return nil, invalid("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
	}
	m, ok := q.byID[parts[1]]
	if !ok || strconv.Itoa(m.receives) != parts[2] {
		return nil, nil
	}
	return m, nil
}
