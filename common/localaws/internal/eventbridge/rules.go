package eventbridge

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/eventbridge/pattern"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

const (
	enabled  = "ENABLED"
	disabled = "DISABLED"
	maxRules = 300
	maxPage  = 100
)

var (
	namePattern = regexp.MustCompile(`^[.\-_A-Za-z0-9]{1,64}$`)
	ratePattern = regexp.MustCompile(`^rate\(([1-9][0-9]*) (minute|minutes|hour|hours|day|days)\)$`)
)

// description is a rule as clients see it.
type description struct {
	Name               string
	Arn                string
	EventPattern       string `json:",omitempty"`
	ScheduleExpression string `json:",omitempty"`
	State              string
	Description        string `json:",omitempty"`
	RoleArn            string `json:",omitempty"`
	EventBusName       string
}

// rule is one rule. Service.mu guards it.
type rule struct {
	description
	pattern *pattern.Pattern // nil for a rule that only has a schedule
	timer   *time.Timer
	targets map[string]target // by id
}

func (r *rule) stop() {
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
}

type putRuleInput struct {
	Name, ScheduleExpression, EventPattern, State, Description, RoleArn, EventBusName string
	Tags                                                                              []struct{ Key, Value string }
}

type putRuleOutput struct{ RuleArn string }

func (s *Service) putRule(_ *wire.Request, in *putRuleInput) (any, error) {
	if err := s.checkBus(in.EventBusName); err != nil {
		return nil, err
	}
	p, every, err := in.parse()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.rules[in.Name]
	switch {
	case !ok && len(s.rules) >= maxRules:
		return nil, &wire.Error{Code: "LimitExceededException", Message: "The requested resource exceeds the maximum number allowed."}
	case !ok:
		r = &rule{targets: map[string]target{}}
		s.rules[in.Name] = r
	}
	r.pattern = p
	r.description = description{
		Name: in.Name, Arn: "arn:aws:events:" + s.deps.Region + ":" + s.deps.Account + ":rule/" + in.Name, EventPattern: in.EventPattern,
		ScheduleExpression: in.ScheduleExpression, State: in.State, Description: in.Description, RoleArn: in.RoleArn, EventBusName: "default",
	}
	if r.State == "" {
		r.State = enabled
	}
	r.stop()
	s.schedule(r, every)
	return putRuleOutput{r.Arn}, nil
}

// parse checks a rule and returns its pattern, if it has one, and its rate.
func (in *putRuleInput) parse() (p *pattern.Pattern, every time.Duration, err error) {
	switch {
	case !namePattern.MatchString(in.Name):
		return nil, 0, invalid("1 validation error detected: Value '" + in.Name + "' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+")
	case in.EventPattern == "" && in.ScheduleExpression == "":
		return nil, 0, invalid("Parameter(s) EventPattern or ScheduleExpression must be specified.")
	case in.State != "" && in.State != enabled && in.State != disabled:
		return nil, 0, invalid("localaws knows no rule state " + in.State)
	}
	if in.EventPattern != "" {
		if p, err = pattern.Parse(in.EventPattern); err != nil {
			return nil, 0, invalidPattern(err)
		}
	}
	if in.ScheduleExpression != "" {
		every, err = parseRate(in.ScheduleExpression)
	}
	return p, every, err
}

func invalidPattern(err error) error {
	return &wire.Error{Code: "InvalidEventPatternException", Message: "Event pattern is not valid. Reason: " + err.Error()}
}

// parseRate reads rate(5 minutes) and its like; one takes the singular.
func parseRate(expression string) (time.Duration, error) {
	bad := invalid("Parameter ScheduleExpression is not valid.")
	if strings.HasPrefix(expression, "cron(") {
		return 0, invalid("localaws runs no cron schedules, only rates: " + expression)
	}
	m := ratePattern.FindStringSubmatch(expression)
	if m == nil || (m[1] == "1") == strings.HasSuffix(m[2], "s") {
		return 0, bad
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0, bad
	}
	unit := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}[strings.TrimSuffix(m[2], "s")]
	if n > int(10*365*24*time.Hour/unit) {
		return 0, bad
	}
	return time.Duration(n) * unit, nil
}

// schedule makes a rule fire at its rate, for the first time after one interval. The caller holds mu.
func (s *Service) schedule(r *rule, every time.Duration) {
	if every == 0 || s.closed {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(every, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.timer != t {
			return // stopped, or given another rate, since it went off
		}
		t.Reset(every)
		s.put(job{rule: r, event: document{DetailType: "Scheduled Event", Source: "aws.events", Resources: []string{r.Arn}, Detail: json.RawMessage("{}")}})
	})
	r.timer = t
}

func (s *Service) checkBus(name string) error {
	if s.isDefault(name) {
		return nil
	}
	return notFound("Event bus " + name + " does not exist.")
}

type ruleInput struct {
	Name, EventBusName string
	Force              bool
}

// rule finds a rule. The caller holds mu.
func (s *Service) rule(name, bus string) (*rule, error) {
	if err := s.checkBus(bus); err != nil {
		return nil, err
	}
	r, ok := s.rules[name]
	if !ok {
		return nil, notFound("Rule " + name + " does not exist on EventBus default.")
	}
	return r, nil
}

func (s *Service) describeRule(_ *wire.Request, in *ruleInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.rule(in.Name, in.EventBusName)
	if err != nil {
		return nil, err
	}
	return r.description, nil
}

func (s *Service) setState(in *ruleInput, state string) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.rule(in.Name, in.EventBusName)
	if err != nil {
		return nil, err
	}
	r.State = state
	return nil, nil
}

// deleteRule succeeds for a rule that is not there, and refuses one that has targets.
func (s *Service) deleteRule(_ *wire.Request, in *ruleInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkBus(in.EventBusName); err != nil {
		return nil, err
	}
	r, ok := s.rules[in.Name]
	switch {
	case !ok:
		return nil, nil
	case len(r.targets) > 0:
		return nil, invalid("Rule can't be deleted since it has targets.")
	}
	r.stop()
	delete(s.rules, in.Name)
	return nil, nil
}

type listRulesInput struct {
	NamePrefix, EventBusName, NextToken string
	Limit                               int
}

type listRulesOutput struct {
	Rules     []description
	NextToken string `json:",omitempty"`
}

// listRules pages by name: the token is the last one of the page before.
func (s *Service) listRules(_ *wire.Request, in *listRulesInput) (any, error) {
	if err := s.checkBus(in.EventBusName); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := listRulesOutput{Rules: []description{}}
	names, token := page(slices.Sorted(maps.Keys(s.rules)), in.NamePrefix, in.NextToken, in.Limit)
	for _, name := range names {
		out.Rules = append(out.Rules, s.rules[name].description)
	}
	out.NextToken = token
	return out, nil
}

// page cuts the names of one answer out of sorted ones.
func page(names []string, prefix, after string, limit int) (chosen []string, token string) {
	if limit < 1 || limit > maxPage {
		limit = maxPage
	}
	names = names[sort.Search(len(names), func(i int) bool { return names[i] > after }):]
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) })
	if len(names) <= limit {
		return names, ""
	}
	return names[:limit], names[limit-1]
}
