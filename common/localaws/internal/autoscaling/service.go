// Package autoscaling is the Auto Scaling of localaws: groups that have instances, and the call that describes them.
//
// It launches, replaces and terminates nothing: who plays the machines puts them into groups through Put, in
// whatever state of their lifecycle. The rest of what AWS tells about a group is what a group without policies has.
package autoscaling

import (
	"context"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Deps says in which region and account groups are that name none, and where an instance runs.
type Deps struct {
	Region, Account string
	// Instance gives zone and type of an instance; false if there is no such one.
	Instance func(id string) (zone, kind string, ok bool)
}

// Group is an Auto Scaling group. Members are lifecycle states, such as InService or Terminating:Wait, by instance id.
type Group struct {
	Name            string
	Region, Account string
	Members         map[string]string
}

// Service holds all groups. It implements wire.Handler and is safe for concurrent use.
type Service struct {
	deps    Deps
	created string
	mu      sync.Mutex
	groups  []Group // ordered by name
}

var _ wire.Handler = (*Service)(nil)

// New makes a service without groups.
func New(d Deps) *Service {
	return &Service{deps: d, created: time.Now().UTC().Format("2006-01-02T15:04:05.000Z")}
}

// Put adds a group, or replaces the one of the same name, region and account.
func (s *Service) Put(g Group) {
	if g.Region == "" {
		g.Region = s.deps.Region
	}
	if g.Account == "" {
		g.Account = s.deps.Account
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = slices.DeleteFunc(s.groups, func(have Group) bool {
		return have.Name == g.Name && have.Region == g.Region && have.Account == g.Account
	})
	s.groups = append(s.groups, g)
	slices.SortFunc(s.groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
}

// Handle answers DescribeAutoScalingGroups.
func (s *Service) Handle(_ context.Context, r *wire.Request) (any, error) {
	if r.Action != "DescribeAutoScalingGroups" {
		return nil, wire.Unknown(r)
	}
	if r.Form.Has("Filters.member.1.Name") {
		return nil, invalid("localaws knows no filters of DescribeAutoScalingGroups")
	}
	limit, after, err := page(r.Form)
	if err != nil {
		return nil, err
	}
	wanted := members(r.Form, "AutoScalingGroupNames")
	s.mu.Lock()
	defer s.mu.Unlock()
	out := describeXML{Groups: []groupXML{}}
	for _, g := range s.groups {
		switch {
		case g.Region != r.Region || g.Account != r.Account || g.Name <= after:
		case len(wanted) > 0 && !slices.Contains(wanted, g.Name):
		case len(out.Groups) == limit:
			out.NextToken = base64.StdEncoding.EncodeToString([]byte(out.Groups[limit-1].Name))
			return out, nil
		default:
			out.Groups = append(out.Groups, s.describe(g))
		}
	}
	return out, nil
}

// Bounds of MaxRecords.
const (
	defaultRecords = 50
	maxRecords     = 100
)

func page(form url.Values) (limit int, after string, err error) {
	limit = defaultRecords
	if raw := form.Get("MaxRecords"); raw != "" {
		limit, err = strconv.Atoi(raw)
		if err != nil || limit < 1 || limit > maxRecords {
			return 0, "", invalid("1 validation error detected: Value '" + raw + "' at 'maxRecords' failed to satisfy constraint: Member must have value between 1 and 100")
		}
	}
	name, err := base64.StdEncoding.DecodeString(form.Get("NextToken"))
	if err != nil {
		return 0, "", &wire.Error{Code: "InvalidNextToken", Message: "The NextToken value is not valid."}
	}
	return limit, string(name), nil
}

func invalid(message string) error { return &wire.Error{Code: "ValidationError", Message: message} }

// members reads a list such as AutoScalingGroupNames.member.1.
func members(form url.Values, name string) []string {
	var out []string
	for i := 1; form.Has(name + ".member." + strconv.Itoa(i)); i++ {
		out = append(out, form.Get(name+".member."+strconv.Itoa(i)))
	}
	return out
}
