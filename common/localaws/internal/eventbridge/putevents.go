package eventbridge

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Limits of PutEvents.
const (
	maxEntries = 10
	maxBytes   = 256 << 10
)

type putEventsEntry struct {
	Time                                     *float64
	Source, DetailType, Detail, EventBusName string
	TraceHeader                              string
	Resources                                []string
}

type putEventsInput struct{ Entries []putEventsEntry }

type putEventsResult struct {
	EventId      string `json:",omitempty"`
	ErrorCode    string `json:",omitempty"`
	ErrorMessage string `json:",omitempty"`
}

type putEventsOutput struct {
	FailedEntryCount int
	Entries          []putEventsResult
}

func (s *Service) putEvents(_ *wire.Request, in *putEventsInput) (any, error) {
	if n := len(in.Entries); n < 1 || n > maxEntries {
		return nil, invalid(fmt.Sprintf("1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length between 1 and %d", maxEntries))
	}
	total := 0
	for _, e := range in.Entries {
		total += e.size()
	}
	if total > maxBytes {
		return nil, invalid("Total size of the entries in the request is over the limit.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := putEventsOutput{}
	for _, e := range in.Entries {
		result := e.check()
		if result.ErrorCode != "" {
			out.FailedEntryCount++
		} else {
			result.EventId = s.putEntry(e)
		}
		out.Entries = append(out.Entries, result)
	}
	return out, nil
}

// size counts as AWS bills: 14 bytes for a time, and all texts.
func (e putEventsEntry) size() int {
	n := len(e.Source) + len(e.DetailType) + len(e.Detail)
	if e.Time != nil {
		n += 14
	}
	for _, r := range e.Resources {
		n += len(r)
	}
	return n
}

func (e putEventsEntry) check() putEventsResult {
	for _, member := range []struct{ name, value string }{{"Source", e.Source}, {"DetailType", e.DetailType}, {"Detail", e.Detail}} {
		if member.value == "" {
			return putEventsResult{ErrorCode: "InvalidArgument", ErrorMessage: fmt.Sprintf("Parameter %s is not valid. Reason: %s is a required argument.", member.name, member.name)}
		}
	}
	var object map[string]json.RawMessage
	switch {
	case strings.HasPrefix(e.Source, "aws."):
		return putEventsResult{ErrorCode: "NotAuthorizedForSourceException", ErrorMessage: "Not authorized for the source."}
	case json.Unmarshal([]byte(e.Detail), &object) != nil || object == nil:
		return putEventsResult{ErrorCode: "MalformedDetail", ErrorMessage: "Detail is malformed."}
	default:
		return putEventsResult{}
	}
}

// putEntry puts a checked entry on its bus. AWS takes events for a bus that does not exist too, and they reach nobody.
func (s *Service) putEntry(e putEventsEntry) string {
	if !s.isDefault(e.EventBusName) {
		return wire.NewUUID()
	}
	event := document{Source: e.Source, DetailType: e.DetailType, Resources: e.Resources, Detail: json.RawMessage(e.Detail)}
	if e.Time != nil {
		event.Time.Time = time.UnixMilli(int64(*e.Time * 1000))
	}
	return s.put(job{event: event})
}

func (s *Service) isDefault(bus string) bool {
	return bus == "" || bus == "default" || bus == "arn:aws:events:"+s.deps.Region+":"+s.deps.Account+":event-bus/default"
}
