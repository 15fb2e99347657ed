package ec2

import (
	"maps"
	"net/url"
	"slices"
	"strconv"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

type tagDescriptionXML struct {
	ResourceID   string `xml:"resourceId"`
	ResourceType string `xml:"resourceType"`
	Key          string `xml:"key"`
	Value        string `xml:"value"`
}

type describeTagsXML struct {
	Tags      []tagDescriptionXML `xml:"tagSet>item"`
	NextToken string              `xml:"nextToken,omitempty"`
}

// describeTags lists all tags of the instances that the filters resource-id and key choose.
func (s *Service) describeTags(r *wire.Request) (any, error) {
	fs, err := filters(r.Form, tagFilter)
	if err != nil {
		return nil, err
	}
	limit, after, err := page(r.Form)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := describeTagsXML{}
	for _, m := range s.order[s.indexAfter(after):] {
		if !m.visibleTo(r) {
			continue
		}
		tags := m.describeTags(fs)
		if limit > 0 && len(out.Tags) > 0 && len(out.Tags)+len(tags) > limit {
			out.NextToken = token(after)
			break
		}
		out.Tags = append(out.Tags, tags...)
		after = m.seq
	}
	return out, nil
}

// describeTags judges each tag alone: a machine that carries only that one.
func (m *machine) describeTags(fs []filter) []tagDescriptionXML {
	var out []tagDescriptionXML
	for _, k := range slices.Sorted(maps.Keys(m.Tags)) {
		single := &machine{Instance: m.Instance}
		single.Tags = map[string]string{k: m.Tags[k]}
		if matchesAll(fs, single) {
			out = append(out, tagDescriptionXML{m.ID, "instance", k, m.Tags[k]})
		}
	}
	return out
}

func tagFilter(name string) func(*machine) []string {
	switch name {
	case "resource-id":
		return func(m *machine) []string { return []string{m.ID} }
	case "resource-type":
		return func(*machine) []string { return []string{"instance"} }
	case "key":
		return tagKeys
	case "value":
		return func(m *machine) []string { return slices.Collect(maps.Values(m.Tags)) }
	default:
		return nil
	}
}

type returnXML struct {
	Return bool `xml:"return"`
}

func (s *Service) createTags(r *wire.Request) (any, error) {
	tags := map[string]string{}
	for _, t := range tagList(r.Form) {
		tags[t.Key] = t.Value
	}
	return s.eachResource(r, func(id string) error { return s.Tag(id, tags) })
}

func (s *Service) deleteTags(r *wire.Request) (any, error) {
	var keys []string
	for _, t := range tagList(r.Form) {
		keys = append(keys, t.Key)
	}
	return s.eachResource(r, func(id string) error { return s.Untag(id, keys...) })
}

func tagList(form url.Values) []tagXML {
	var out []tagXML
	for i := 1; form.Has("Tag." + strconv.Itoa(i) + ".Key"); i++ {
		prefix := "Tag." + strconv.Itoa(i)
		out = append(out, tagXML{form.Get(prefix + ".Key"), form.Get(prefix + ".Value")})
	}
	return out
}

// eachResource checks all ids before it changes any.
func (s *Service) eachResource(r *wire.Request, change func(id string) error) (any, error) {
	ids := list(r.Form, "ResourceId")
	s.mu.RLock()
	err := s.checkIDs(r, ids)
	s.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := change(id); err != nil {
			return nil, refusal("InvalidInstanceID.NotFound", err.Error())
		}
	}
	return returnXML{true}, nil
}
