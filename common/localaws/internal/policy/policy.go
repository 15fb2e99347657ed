// Package policy evaluates the resource policies of queues and topics: who else may send to them.
//
// It knows principals, actions, resources and the condition operators that such policies use. What it does not know never allows
// anything: an allowing statement with it does not match, a denying one does.
package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Request is one attempt by an AWS service.
type Request struct {
	Service   string // the principal, for example sns.amazonaws.com
	Action    string // for example sqs:SendMessage
	Resource  string // the ARN of the queue or topic
	SourceARN string // aws:SourceArn, what the service acts for
	Account   string // aws:SourceAccount
}

// Policy is a parsed policy document. A nil Policy allows nothing.
type Policy struct{ statements []statement }

type statement struct {
	deny                    bool
	principals              []string // AWS and Service alike; "*" is anyone
	notPrincipal            bool
	actions, notActions     []string
	resources, notResources []string
	conditions              []condition
}

// Parse reads a policy document; "" gives nil.
func Parse(text string) (*Policy, error) {
	if text == "" {
		return nil, nil
	}
	var doc struct {
		Version, Id string
		Statement   oneOrMany[rawStatement]
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("reading policy: %w", err)
	}
	if len(doc.Statement) == 0 {
		return nil, fmt.Errorf("reading policy: no statement")
	}
	p := &Policy{}
	for _, raw := range doc.Statement {
		s, err := raw.parse()
		if err != nil {
			return nil, err
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

// oneOrMany is a member that may stand alone where an array is meant.
type oneOrMany[T any] []T

// UnmarshalJSON takes either form.
func (o *oneOrMany[T]) UnmarshalJSON(data []byte) error {
	if data[0] == '[' {
		return json.Unmarshal(data, (*[]T)(o))
	}
	var one T
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*o = oneOrMany[T]{one}
	return nil
}

type rawStatement struct {
	Sid, Effect             string
	Principal, NotPrincipal json.RawMessage
	Action, NotAction       oneOrMany[string]
	Resource, NotResource   oneOrMany[string]
	Condition               map[string]map[string]oneOrMany[any]
}

func (r rawStatement) parse() (statement, error) {
	s := statement{
		deny: r.Effect == "Deny", actions: r.Action, notActions: r.NotAction, resources: r.Resource, notResources: r.NotResource,
		notPrincipal: r.NotPrincipal != nil,
	}
	switch {
	case r.Effect != "Allow" && r.Effect != "Deny":
		return s, fmt.Errorf("reading policy: effect %q", r.Effect)
	case (r.Principal == nil) == (r.NotPrincipal == nil):
		return s, fmt.Errorf("reading policy: a statement needs one of Principal and NotPrincipal")
	case (len(r.Action) == 0) == (len(r.NotAction) == 0):
		return s, fmt.Errorf("reading policy: a statement needs one of Action and NotAction")
	}
	var err error
	if s.principals, err = principals(slices.Concat(r.Principal, r.NotPrincipal)); err != nil {
		return s, err
	}
	for operator, keys := range r.Condition {
		for key, values := range keys {
			s.conditions = append(s.conditions, newCondition(operator, key, values))
		}
	}
	return s, nil
}

func principals(raw json.RawMessage) ([]string, error) {
	var anyone string
	if json.Unmarshal(raw, &anyone) == nil {
		if anyone != "*" {
			return nil, fmt.Errorf("reading policy: principal %q", anyone)
		}
		return []string{"*"}, nil
	}
	var kinds map[string]oneOrMany[string]
	if err := json.Unmarshal(raw, &kinds); err != nil {
		return nil, fmt.Errorf("reading policy principals: %w", err)
	}
	var out []string
	for _, names := range kinds {
		out = append(out, names...)
	}
	return out, nil
}

// Allows reports whether some statement allows r and none denies it.
func (p *Policy) Allows(r Request) bool {
	if p == nil {
		return false
	}
	allowed := false
	for _, s := range p.statements {
		if !s.matches(r) {
			continue
		}
		if s.deny {
			return false
		}
		allowed = true
	}
	return allowed
}

func (s statement) matches(r Request) bool {
	return s.principal(r) && s.action(r) && s.resource(r) &&
		!slices.ContainsFunc(s.conditions, func(c condition) bool { return !c.holds(r, s.deny) })
}

func (s statement) principal(r Request) bool {
	named := slices.Contains(s.principals, "*") || slices.Contains(s.principals, r.Service)
	return named != s.notPrincipal
}

// action compares without case, as IAM does for actions alone.
func (s statement) action(r Request) bool {
	matches := func(pattern string) bool { return Like(strings.ToLower(pattern), strings.ToLower(r.Action)) }
	if len(s.notActions) > 0 {
		return !slices.ContainsFunc(s.notActions, matches)
	}
	return slices.ContainsFunc(s.actions, matches)
}

func (s statement) resource(r Request) bool {
	matches := func(pattern string) bool { return Like(pattern, r.Resource) }
	if len(s.notResources) > 0 {
		return !slices.ContainsFunc(s.notResources, matches)
	}
	return slices.ContainsFunc(s.resources, matches)
}

// Like matches s against a pattern in which * stands for any text and ? for one character.
func Like(pattern, s string) bool {
	i, j, star, mark := 0, 0, -1, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}
