package localaws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// authorize holds a worker's credentials to the WorkerPolicy. This is the only place that decides what a
// worker may do; whatever is not allowed here is denied.
func (s *Server) authorize(ctx context.Context, r *wire.Request) error {
	if s.workerMay(ctx, r) {
		return nil
	}
	resource := s.resource(r)
	if resource == "" {
		resource = "*"
	}
	return wire.Denied(r, resource)
}

func (s *Server) workerMay(ctx context.Context, r *wire.Request) bool {
	switch r.Service {
	case "secretsmanager":
		return (r.Action == "GetSecretValue" || r.Action == "DescribeSecret") && s.isKeysetSecret(member(r, "SecretId"))
	case "dynamodb":
		return s.workerMayUseTable(ctx, r)
	case "sqs":
		return s.workerMayUseQueue(r)
	case "sns":
		return r.Action == "Subscribe" && r.Form.Get("Protocol") == "sqs" &&
			r.Form.Get("TopicArn") == s.arn("sns", s.opts.Worker.Topic) && r.Form.Get("Endpoint") == s.arn("sqs", s.queueOf(r.Principal.Worker))
	case "sts":
		return r.Action == "GetCallerIdentity"
	}
	return false
}

// arn names a resource of the endpoint's region and account.
func (s *Server) arn(service, name string) string {
	return "arn:aws:" + service + ":" + s.opts.Region + ":" + s.opts.Account + ":" + name
}

// queueOf is the name of the queue that a worker may make.
func (s *Server) queueOf(instanceARN string) string {
	return s.opts.Worker.QueuePrefix + instanceARN[strings.LastIndex(instanceARN, "/")+1:]
}

// ownerTag ties a queue to the worker that may use it.
const ownerTag = "instance-arn"

// workerMayUseQueue goes by tags, since IAM cannot put an instance's id into the ARN of a queue: a worker
// makes its own queue with its own tag, and uses queues that carry it.
func (s *Server) workerMayUseQueue(r *wire.Request) bool {
	t, ok := s.sqs.Target(r)
	if !ok {
		return false
	}
	me := r.Principal.Worker
	switch r.Action {
	case "CreateQueue":
		return t.Name == s.queueOf(me) && t.RequestTags[ownerTag] == me
	case "TagQueue":
		return strings.HasPrefix(t.Name, s.opts.Worker.QueuePrefix) && t.RequestTags[ownerTag] == me
	case "GetQueueUrl", "GetQueueAttributes", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch", "ChangeMessageVisibility":
		// Its own queue that is not there yet is answered as missing.
		return t.Tags[ownerTag] == me || !t.Exists && t.Name == s.queueOf(me)
	}
	return false
}

// workerMayUseTable is dynamodb:LeadingKeys: every partition key of a read begins with keyset#, and that of
// a write is the worker's own ARN. What touches no key, as Scan, is never allowed.
func (s *Server) workerMayUseTable(ctx context.Context, r *wire.Request) bool {
	var allowed func(key string) bool
	switch r.Action {
	case "GetItem", "Query", "BatchGetItem":
		allowed = func(key string) bool { return strings.HasPrefix(key, "keyset#") }
	case "PutItem", "UpdateItem", "DeleteItem":
		allowed = func(key string) bool { return key == r.Principal.Worker }
	default:
		return false
	}
	keys, known := s.dynamodb.LeadingKeys(r)
	if !known {
		return s.isMissingTable(ctx, r) // so that the service answers ResourceNotFoundException
	}
	return !slices.ContainsFunc(keys, func(k dynamodb.Leading) bool {
		return k.Table != s.opts.Worker.Table || !allowed(k.Key)
	})
}

// isMissingTable tells whether r is about the policy's table before that was made.
func (s *Server) isMissingTable(ctx context.Context, r *wire.Request) bool {
	if member(r, "TableName") != s.opts.Worker.Table {
		return false
	}
	describe := *r
	describe.Action, describe.Body = "DescribeTable", fmt.Appendf(nil, `{"TableName":%q}`, s.opts.Worker.Table)
	_, err := s.dynamodb.Handle(ctx, &describe)
	var e *wire.Error
	return errors.As(err, &e) && e.Code == "ResourceNotFoundException"
}

// isKeysetSecret matches as an IAM policy on secret:<name>-?????? would, whether the secret exists or not.
func (s *Server) isKeysetSecret(id string) bool {
	name := s.opts.Worker.KeysetSecret
	if arn, ok := s.secrets.ARN(id); ok {
		keyset, exists := s.secrets.ARN(name)
		return exists && arn == keyset
	}
	prefix := "arn:aws:secretsmanager:" + s.opts.Region + ":" + s.opts.Account + ":secret:" + name
	return id == name || id == prefix || strings.HasPrefix(id, prefix+"-") && len(id) == len(prefix)+7
}

// resource names what a call is about, for the record and for denials.
func (s *Server) resource(r *wire.Request) string {
	switch r.Service {
	case "secretsmanager":
		id := first(member(r, "SecretId"), member(r, "Name"))
		if arn, ok := s.secrets.ARN(id); ok {
			return arn
		}
		return id
	case "dynamodb":
		return member(r, "TableName")
	case "sqs":
		t, _ := s.sqs.Target(r)
		return t.ARN
	case "sns":
		return first(r.Form.Get("TopicArn"), r.Form.Get("SubscriptionArn"), r.Form.Get("Name"))
	case "lambda":
		return s.functions.ARN(r.Form.Get("FunctionName"))
	case "sts":
		return r.Form.Get("RoleArn")
	}
	return ""
}

// member returns a string member of a JSON request or a parameter of a query request, "" if it has none.
func member(r *wire.Request, name string) string {
	if r.Form != nil {
		return r.Form.Get(name)
	}
	doc := map[string]json.RawMessage{}
	var v string
	if json.Unmarshal(r.Body, &doc) != nil || json.Unmarshal(doc[name], &v) != nil {
		return ""
	}
	return v
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
