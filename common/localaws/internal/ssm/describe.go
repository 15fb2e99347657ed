package ssm

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// How much AWS keeps of what a script prints.
const (
	maxStdout = 24000
	maxStderr = 8000
	maxListed = 2500
)

const plugin = "aws:runShellScript"

var commandID = regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)

func (c *command) describe() map[string]any {
	return map[string]any{
		"CommandId": c.id, "Comment": c.comment, "DocumentName": c.document, "DocumentVersion": "$DEFAULT", "Parameters": c.parameters,
		"InstanceIds": c.instances, "Targets": []any{}, "RequestedDateTime": wire.Epoch(c.requested), "Status": pending, "StatusDetails": pending,
		"MaxConcurrency": c.maxConcurrency, "MaxErrors": c.maxErrors, "TargetCount": len(c.instances), "CompletedCount": 0, "ErrorCount": 0,
		"TimeoutSeconds": c.seconds, "ExpiresAfter": wire.Epoch(c.requested.Add(time.Duration(c.seconds) * time.Second)),
	}
}

type getCommandInvocationInput struct{ CommandId, InstanceId, PluginName string }

func (s *Service) getCommandInvocation(in getCommandInvocationInput) (any, error) {
	if !commandID.MatchString(in.CommandId) {
		return nil, &wire.Error{Code: "InvalidCommandId", Message: "The command id is not valid."}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var i *invocation
	c := s.commands[in.CommandId]
	if c != nil {
		i = c.invocations[in.InstanceId]
	}
	switch {
	case i == nil:
		return nil, &wire.Error{Code: "InvocationDoesNotExist"}
	case in.PluginName != "" && in.PluginName != plugin:
		return nil, &wire.Error{Code: "InvalidPluginName", Message: "The plugin name is not valid."}
	}
	return map[string]any{
		"CommandId": c.id, "InstanceId": i.instanceID, "Comment": c.comment, "DocumentName": c.document, "DocumentVersion": "$DEFAULT",
		"PluginName": plugin, "ResponseCode": i.code(), "Status": i.status, "StatusDetails": i.details,
		"ExecutionStartDateTime": iso(i.began), "ExecutionEndDateTime": iso(i.finished), "ExecutionElapsedTime": i.elapsed(),
		"StandardOutputContent": cut(i.result.Stdout, maxStdout), "StandardErrorContent": cut(i.result.Stderr, maxStderr),
		"StandardOutputUrl": "", "StandardErrorUrl": "",
	}, nil
}

// code is -1 until the script has ended.
func (i *invocation) code() int {
	if i.finished.IsZero() {
		return -1
	}
	return i.result.ExitCode
}

func (i *invocation) elapsed() string {
	if i.finished.IsZero() {
		return ""
	}
	return fmt.Sprintf("PT%.3fS", i.finished.Sub(i.began).Seconds())
}

func iso(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func cut(s string, n int) string { return s[:min(n, len(s))] }

type filter struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type listCommandInvocationsInput struct {
	CommandId, InstanceId, NextToken string
	MaxResults                       *int
	Details                          bool
	Filters                          []filter
}

func (s *Service) listCommandInvocations(in listCommandInvocationsInput) (any, error) {
	if len(in.Filters) > 0 {
		return nil, &wire.Error{Code: "InvalidFilterKey", Message: "localaws lists invocations without filters only"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if in.CommandId != "" && s.commands[in.CommandId] == nil {
		return nil, &wire.Error{Code: "InvalidCommandId", Message: "The command id is not valid."}
	}
	var all []map[string]any
	for _, c := range slices.Backward(s.order) {
		if in.CommandId != "" && c.id != in.CommandId {
			continue
		}
		for _, id := range c.instances {
			if in.InstanceId == "" || in.InstanceId == id {
				all = append(all, c.list(c.invocations[id], in.Details))
			}
		}
	}
	page, next, err := paged(all, in.NextToken, in.MaxResults, 1)
	return map[string]any{"CommandInvocations": page, "NextToken": next}, err
}

func (c *command) list(i *invocation, details bool) map[string]any {
	out := map[string]any{
		"CommandId": c.id, "InstanceId": i.instanceID, "InstanceName": "", "Comment": c.comment, "DocumentName": c.document, "DocumentVersion": "$DEFAULT",
		"RequestedDateTime": wire.Epoch(c.requested), "Status": i.status, "StatusDetails": i.details, "StandardOutputUrl": "", "StandardErrorUrl": "",
		"CommandPlugins": []any{},
	}
	if details {
		p := map[string]any{"Name": plugin, "Status": i.status, "StatusDetails": i.details, "ResponseCode": i.code(), "Output": cut(i.result.Stdout, maxListed)}
		if !i.finished.IsZero() {
			p["ResponseStartDateTime"], p["ResponseFinishDateTime"] = wire.Epoch(i.began), wire.Epoch(i.finished)
		}
		out["CommandPlugins"] = []any{p}
	}
	return out
}

type informationFilter struct {
	Key    string
	Values []string
}

type describeInstanceInformationInput struct {
	Filters    []informationFilter
	MaxResults *int
	NextToken  string
}

func (s *Service) describeInstanceInformation(in describeInstanceInformationInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := slices.Sorted(maps.Keys(s.managed))
	for _, f := range in.Filters {
		if f.Key != "InstanceIds" || len(f.Values) == 0 || len(f.Values) > 100 {
			return nil, &wire.Error{Code: "InvalidFilterKey", Message: "localaws filters by up to 100 InstanceIds only"}
		}
		ids = slices.DeleteFunc(ids, func(id string) bool { return !slices.Contains(f.Values, id) })
	}
	all := []map[string]any{}
	for _, id := range ids {
		ping := "Online"
		if !s.deps.Running(id) {
			ping = "ConnectionLost"
		}
		all = append(all, map[string]any{"InstanceId": id, "PingStatus": ping, "LastPingDateTime": wire.Epoch(time.Now()), "AgentVersion": "3.3.0.0",
			"IsLatestVersion": true, "PlatformType": "Linux", "ResourceType": "EC2Instance"})
	}
	page, next, err := paged(all, in.NextToken, in.MaxResults, 5)
	return map[string]any{"InstanceInformationList": page, "NextToken": next}, err
}

// paged cuts one page of up to 50 out of a list; the token is the place where it begins.
func paged[T any](all []T, token string, size *int, least int) (page []T, next string, err error) {
	const most = 50
	n := most
	if size != nil {
		n = *size
	}
	if n < least || n > most {
		return nil, "", constraint("maxResults", fmt.Sprintf("Member must have value from %d to %d", least, most))
	}
	from, err := strconv.Atoi(or(token, "0"))
	if err != nil || from < 0 || from > len(all) {
		return nil, "", &wire.Error{Code: "InvalidNextToken", Message: "The specified token is not valid."}
	}
	to := min(from+n, len(all))
	if to < len(all) {
		next = strconv.Itoa(to)
	}
	return append([]T{}, all[from:to]...), next, nil
}
