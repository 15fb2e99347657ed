package localaws

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

const maxBody = 16 << 20 // DynamoDB's BatchWriteItem, the largest of all

// serve is the one HTTP handler: it decodes, runs and answers a call of any service.
func (s *Server) serve(w http.ResponseWriter, hr *http.Request) {
	requestID := wire.NewUUID()
	r, err := s.decode(hr)
	if err == nil {
		r.Principal, err = s.identities.identify(r, parseScope(hr.Header.Get("Authorization")).accessKeyID, hr.Header.Get("X-Amz-Security-Token"))
	}
	if err != nil {
		wire.Encode(r, requestID, nil, err).Write(w)
		return
	}
	if account := accountOf(r.Principal.Role); account != "" {
		r.Account = account
	}
	answer := s.run(hr.Context(), r, requestID)
	if answer == nil {
		panic(http.ErrAbortHandler) // net/http's way to close the connection without an answer
	}
	answer.Write(w)
}

// decode finds out service, action and protocol. The request is never nil, so that an error can be
// answered in the client's protocol.
func (s *Server) decode(hr *http.Request) (*wire.Request, error) {
	r := &wire.Request{Protocol: wire.JSON11, Region: s.opts.Region, Account: s.opts.Account, Host: hr.Host}
	body, err := io.ReadAll(http.MaxBytesReader(nil, hr.Body, maxBody))
	if err != nil {
		return r, &wire.Error{Code: "RequestEntityTooLarge", Message: "reading the request: " + err.Error(), Status: http.StatusRequestEntityTooLarge}
	}
	r.Body = body
	if target := hr.Header.Get("X-Amz-Target"); target != "" {
		decodeJSON(r, target, hr.Header.Get("Content-Type"))
		return r, nil
	}
	if strings.HasPrefix(hr.URL.Path, "/2015-03-31/") {
		return r, decodeLambda(r, hr)
	}
	return r, decodeQuery(r, hr)
}

func decodeJSON(r *wire.Request, target, contentType string) {
	if strings.HasPrefix(contentType, "application/x-amz-json-1.0") {
		r.Protocol = wire.JSON10
	}
	prefix, action, _ := strings.Cut(target, ".")
	r.Service, r.Action = jsonService(prefix), action
	if len(r.Body) == 0 {
		r.Body = []byte("{}")
	}
}

// jsonService maps the prefix of X-Amz-Target to the service's IAM prefix.
func jsonService(prefix string) string {
	switch prefix {
	case "AWSEvents":
		return "events"
	case "AmazonSQS":
		return "sqs"
	case "DynamoDB_20120810":
		return "dynamodb"
	case "AmazonSSM":
		return "ssm"
	}
	return strings.ToLower(prefix)
}

// decodeQuery takes the service from the signature's scope: a query names only its action.
func decodeQuery(r *wire.Request, hr *http.Request) error {
	r.Protocol = wire.Query
	signed := parseScope(hr.Header.Get("Authorization"))
	r.Service = signed.service
	switch r.Service {
	case "ec2":
		r.Protocol, r.Region = wire.EC2Query, signed.region
	case "autoscaling":
		r.Region = signed.region
	}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return &wire.Error{Code: "MalformedQueryString", Message: "parsing the form: " + err.Error()}
	}
	maps.Copy(form, hr.URL.Query())
	r.Form, r.Body, r.Action = form, nil, form.Get("Action")
	if r.Action == "" {
		return &wire.Error{Code: "MissingAction", Message: fmt.Sprintf("localaws serves no %s %s; no Action was given", hr.Method, hr.URL.Path)}
	}
	return nil
}

func decodeLambda(r *wire.Request, hr *http.Request) error {
	r.Protocol, r.Service = wire.REST, "lambda"
	name, ok := strings.CutSuffix(strings.TrimPrefix(hr.URL.EscapedPath(), "/2015-03-31/functions/"), "/invocations")
	if !ok || hr.Method != http.MethodPost {
		return &wire.Error{Code: "UnknownOperationException", Message: "localaws does not implement lambda: " + hr.Method + " " + hr.URL.Path, Status: http.StatusNotFound}
	}
	name, err := url.PathUnescape(name)
	if err != nil {
		return &wire.Error{Code: "InvalidParameterValueException", Message: "reading the function name: " + err.Error()}
	}
	r.Action = "Invoke"
	r.Form = url.Values{"FunctionName": {name}, "InvocationType": {hr.Header.Get("X-Amz-Invocation-Type")},
		"Qualifier": {hr.URL.Query().Get("Qualifier")}, "LogType": {hr.Header.Get("X-Amz-Log-Type")}, "ClientContext": {hr.Header.Get("X-Amz-Client-Context")}}
	return nil
}
