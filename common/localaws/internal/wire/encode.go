package wire

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Answer is an encoded response, ready to be written.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	Code   string // the AWS error code, "" for success
}

// Write sends the answer to w.
func (a *Answer) Write(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.Header)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // a client that went away is no concern of the server
}

func (a *Answer) withID(requestID string) *Answer {
	if a.Header == nil {
		a.Header = http.Header{}
	}
	a.Header.Set("X-Amzn-Requestid", requestID)
	return a
}

// Encode turns what a Handler returned into the answer of r's protocol. An error wins over out; an out
// that is an *Answer already is sent as it is.
func Encode(r *Request, requestID string, out any, err error) *Answer {
	if a, ok := out.(*Answer); ok && err == nil {
		return a.withID(requestID)
	}
	if err == nil {
		a, encErr := encodeResult(r, requestID, out)
		if encErr == nil {
			return a
		}
		err = encErr
	}
	return encodeError(r, requestID, asError(err))
}

func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: "InternalFailure", Message: err.Error(), Status: http.StatusInternalServerError}
}

func encodeResult(r *Request, requestID string, out any) (*Answer, error) {
	var body []byte
	var err error
	switch r.Protocol {
	case Query:
		body, err = queryBody(r, requestID, out)
	case EC2Query:
		body, err = ec2Body(r, requestID, out)
	default:
		if out == nil {
			out = struct{}{}
		}
		body, err = json.Marshal(out)
	}
	if err != nil {
		return nil, fmt.Errorf("encoding the answer of %s: %w", r.Action, err)
	}
	return newAnswer(r, requestID, http.StatusOK, body), nil
}

func newAnswer(r *Request, requestID string, status int, body []byte) *Answer {
	h := http.Header{}
	h.Set("Content-Type", contentType(r.Protocol))
	h.Set("X-Amzn-Requestid", requestID)
	if r.Service == "dynamodb" {
		h.Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10))
	}
	return &Answer{Status: status, Header: h, Body: body}
}

func contentType(p Protocol) string {
	switch p {
	case JSON10:
		return "application/x-amz-json-1.0"
	case JSON11:
		return "application/x-amz-json-1.1"
	case REST:
		return "application/json"
	}
	return "text/xml;charset=UTF-8"
}

func namespace(service string) string {
	switch service {
	case "sns":
		return "http://sns.amazonaws.com/doc/2010-03-31/"
	case "sqs":
		return "http://queue.amazonaws.com/doc/2012-11-05/"
	case "ec2":
		return "http://ec2.amazonaws.com/doc/2016-11-15/"
	case "autoscaling":
		return "http://autoscaling.amazonaws.com/doc/2011-01-01/"
	}
	return "https://sts.amazonaws.com/doc/2011-06-15/"
}

func queryBody(r *Request, requestID string, out any) ([]byte, error) {
	result := []byte{}
	if out != nil {
		var err error
		if result, err = element(r.Action+"Result", out); err != nil {
			return nil, err
		}
	}
	return fmt.Appendf(nil, "<%[1]sResponse xmlns=%[2]q>%[3]s<ResponseMetadata><RequestId>%[4]s</RequestId></ResponseMetadata></%[1]sResponse>",
		r.Action, namespace(r.Service), result, requestID), nil
}

func ec2Body(r *Request, requestID string, out any) ([]byte, error) {
	inner := []byte{}
	if out != nil {
		e, err := element("x", out)
		if err != nil {
			return nil, err
		}
		inner = bytes.TrimSuffix(bytes.TrimPrefix(e, []byte("<x>")), []byte("</x>"))
	}
	return fmt.Appendf(nil, "<%[1]sResponse xmlns=%[2]q><requestId>%[3]s</requestId>%[4]s</%[1]sResponse>",
		r.Action, namespace(r.Service), requestID, inner), nil
}

func element(name string, v any) ([]byte, error) {
	var b bytes.Buffer
	enc := xml.NewEncoder(&b)
	if err := enc.EncodeElement(v, xml.StartElement{Name: xml.Name{Local: name}}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

type xmlError struct {
	Type    string `xml:"Type,omitempty"`
	Code    string
	Message string
}

func encodeError(r *Request, requestID string, e *Error) *Answer {
	var a *Answer
	switch r.Protocol {
	case Query:
		a = newAnswer(r, requestID, e.HTTPStatus(), queryError(requestID, e))
	case EC2Query:
		a = newAnswer(r, requestID, e.HTTPStatus(), ec2Error(requestID, e))
	default:
		a = newAnswer(r, requestID, e.HTTPStatus(), jsonError(e))
		a.Header.Set("X-Amzn-Errortype", e.Code)
		if e.QueryCode != "" {
			a.Header.Set("X-Amzn-Query-Error", e.QueryCode+";"+fault(e))
		}
	}
	a.Code = e.Code
	return a
}

func fault(e *Error) string {
	if e.HTTPStatus() >= http.StatusInternalServerError {
		return "Receiver"
	}
	return "Sender"
}

func jsonError(e *Error) []byte {
	doc := map[string]any{}
	maps.Copy(doc, e.Fields)
	doc["__type"] = e.Code
	doc["message"] = e.Message
	// Secrets Manager and DynamoDB spell the member differently; the SDKs look for both.
	doc["Message"] = e.Message
	body, err := json.Marshal(doc)
	if err != nil {
		return []byte(`{"__type":"InternalFailure"}`)
	}
	return body
}

func queryError(requestID string, e *Error) []byte {
	code := e.Code
	if e.QueryCode != "" {
		code = e.QueryCode
	}
	inner, err := element("Error", xmlError{Type: fault(e), Code: code, Message: e.Message})
	if err != nil {
		inner = []byte("<Error><Code>InternalFailure</Code></Error>")
	}
	return fmt.Appendf(nil, "<ErrorResponse>%s<RequestId>%s</RequestId></ErrorResponse>", inner, requestID)
}

func ec2Error(requestID string, e *Error) []byte {
	inner, err := element("Error", xmlError{Code: e.Code, Message: e.Message})
	if err != nil {
		inner = []byte("<Error><Code>InternalFailure</Code></Error>")
	}
	return fmt.Appendf(nil, "<Response><Errors>%s</Errors><RequestID>%s</RequestID></Response>", inner, requestID)
}

// Epoch returns t as the seconds since 1970 that the JSON protocols use for times.
func Epoch(t time.Time) float64 {
	return float64(t.UnixMilli()) / 1000
}
