package localaws

import (
	"encoding/json"
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// authorize holds a worker's credentials to the WorkerPolicy. This is the only place that decides what a
// worker may do; whatever is not allowed here is denied.
func (s *Server) authorize(r *wire.Request) error {
	if s.workerMay(r) {
		return nil
	}
	resource := s.resource(r)
	if resource == "" {
		resource = "*"
	}
	return wire.Denied(r, resource)
}

func (s *Server) workerMay(r *wire.Request) bool {
	switch r.Service {
	case "secretsmanager":
		return (r.Action == "GetSecretValue" || r.Action == "DescribeSecret") && s.isKeysetSecret(member(r, "SecretId"))
	case "sts":
		return r.Action == "GetCallerIdentity"
	}
	return false
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
	case "lambda":
		return s.functions.ARN(r.Form.Get("FunctionName"))
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
