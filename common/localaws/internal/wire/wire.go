// Package wire holds what AWS's wire protocols share, whatever the service: a decoded request, an
// error with AWS's name and HTTP status, and the encoding of answers.
//
// It promises that every answer has the shape that the AWS SDKs and the aws CLI expect for the
// protocol of the request. It does not authenticate requests and it knows no operation.
package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// Protocol is the wire protocol in which a request came and its answer goes.
type Protocol int

// The protocols that localaws speaks.
const (
	JSON10   Protocol = iota + 1 // awsJson1.0: SQS, DynamoDB
	JSON11                       // awsJson1.1: Secrets Manager, EventBridge, SSM
	Query                        // awsQuery: SNS, STS, Auto Scaling, and SQS from older clients
	EC2Query                     // ec2Query: EC2
	REST                         // restJson1: Lambda
)

// Principal is who sent a request, by its credentials.
type Principal struct {
	AccessKeyID string
	Worker      string // the instance ARN that the credentials were issued to; "" for everybody else
	Function    string // the name of the Lambda function that the credentials were issued to, or ""
	Role        string // the ARN of the role that was assumed, or ""
	Session     string // the name of that role's session
	Service     string // an AWS service that acts by itself (secretsmanager, events), or ""
}

// String returns "operator", the name of the function or service, or the ARN of the worker's instance or of the role.
func (p Principal) String() string {
	switch {
	case p.Worker != "":
		return p.Worker
	case p.Function != "":
		return p.Function
	case p.Service != "":
		return p.Service
	case p.Role != "":
		return p.Role
	}
	return "operator"
}

// ARN returns the identity that AWS would name in an access-denied sentence.
func (p Principal) ARN(account string) string {
	switch {
	case p.Worker != "":
		return "arn:aws:sts::" + account + ":assumed-role/rotatessh-worker/" + p.Worker[strings.LastIndex(p.Worker, "/")+1:]
	case p.Function != "":
		return "arn:aws:sts::" + account + ":assumed-role/rotatessh-function/" + p.Function
	case p.Role != "":
		return "arn:aws:sts::" + account + ":assumed-role/" + p.Role[strings.LastIndex(p.Role, "/")+1:] + "/" + p.Session
	}
	return "arn:aws:iam::" + account + ":user/operator"
}

// Request is one call, decoded as far as its protocol allows.
type Request struct {
	// Service is the service's IAM prefix: secretsmanager, autoscaling, events, sqs, sns, dynamodb, ec2, sts, ssm, lambda.
	Service   string
	Action    string // "GetSecretValue"
	Protocol  Protocol
	Body      []byte     // the JSON document, for the JSON protocols; never nil there
	Form      url.Values // for Query and EC2Query
	Principal Principal
	Region    string
	Account   string
	Host      string // what the client put in the Host header, for answers that contain a URL
}

// Handler serves the calls of one service. The result is marshalled into the body for JSON protocols and
// into the Result element (EC2: into the Response element) for query protocols, where it must be a
// struct or a pointer to one, with xml tags, or nil. An error that is not an *Error is answered as
// InternalFailure. Handle is called by many goroutines at once; ctx ends when the client goes away.
type Handler interface {
	Handle(ctx context.Context, r *Request) (any, error)
}

// Decode parses the JSON body of r into v.
func Decode(r *Request, v any) error {
	if err := json.Unmarshal(r.Body, v); err != nil {
		return &Error{Code: "SerializationException", Message: "reading the input of " + r.Action + ": " + err.Error()}
	}
	return nil
}

// DecodeStrict is Decode, except that it refuses members that v does not have, so that nothing that a
// client asks for is silently left out.
func DecodeStrict(r *Request, v any) error {
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &Error{Code: "SerializationException", Message: "localaws cannot read the input of " + r.Action + ": " + err.Error()}
	}
	return nil
}

// Error is an AWS error answer.
type Error struct {
	Code    string
	Message string
	Status  int // the HTTP status; 0 means 400
	// QueryCode is the code under which clients of the query protocol know the error, if it differs
	// from Code (SQS: AWS.SimpleQueueService.NonExistentQueue for QueueDoesNotExist).
	QueryCode string
	Fields    map[string]any // further members of the JSON document, for example DynamoDB's Item
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// HTTPStatus returns the status to answer with, 400 unless the error says otherwise.
func (e *Error) HTTPStatus() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}

// Unknown returns the error for an operation that localaws does not have. It is never a success, so that
// nothing can come to depend on a call that did nothing.
func Unknown(r *Request) error {
	msg := "localaws does not implement " + r.Service + ":" + r.Action
	if r.Protocol == Query || r.Protocol == EC2Query {
		return &Error{Code: "InvalidAction", Message: msg}
	}
	return &Error{Code: "UnknownOperationException", Message: msg}
}

// Denied returns the access-denied error of the request's service, in AWS's own words.
func Denied(r *Request, resource string) error {
	action := r.Service + ":" + r.Action
	msg := "User: " + r.Principal.ARN(r.Account) + " is not authorized to perform: " + action +
		" on resource: " + resource + " because no identity-based policy allows the " + action + " action"
	switch {
	case r.Protocol == EC2Query:
		return &Error{Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation. " + msg, Status: http.StatusForbidden}
	case r.Service == "sns":
		return &Error{Code: "AuthorizationError", Message: msg, Status: http.StatusForbidden}
	case r.Protocol == Query:
		return &Error{Code: "AccessDenied", Message: msg, Status: http.StatusForbidden}
	case r.Protocol == REST:
		return &Error{Code: "AccessDeniedException", Message: msg, Status: http.StatusForbidden}
	case r.Service == "sqs":
		return &Error{Code: "AccessDeniedException", Message: msg, Status: http.StatusForbidden, QueryCode: "AccessDenied"}
	}
	return &Error{Code: "AccessDeniedException", Message: msg}
}
