package ec2

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// maxFilterValues is how many values all filters of a request may have together.
const maxFilterValues = 200

// filter holds when any of its values matches any value of the instance.
type filter struct {
	name   string
	of     func(*machine) []string
	values []string
}

// list reads a numbered list such as InstanceId.1, InstanceId.2.
func list(form url.Values, prefix string) []string {
	var out []string
	for i := 1; form.Has(prefix + "." + strconv.Itoa(i)); i++ {
		out = append(out, form.Get(prefix+"."+strconv.Itoa(i)))
	}
	return out
}

// filters reads Filter.1.Name, Filter.1.Value.1 and so on; known maps a name to what it looks at.
func filters(form url.Values, known func(name string) func(*machine) []string) ([]filter, error) {
	var out []filter
	count := 0
	for i := 1; form.Has("Filter." + strconv.Itoa(i) + ".Name"); i++ {
		prefix := "Filter." + strconv.Itoa(i)
		name := form.Get(prefix + ".Name")
		of := known(name)
		if of == nil {
			return nil, refusal("InvalidParameterValue", "The filter '"+name+"' is invalid")
		}
		f := filter{name, of, list(form, prefix+".Value")}
		if count += len(f.values); count > maxFilterValues {
			return nil, refusal("FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200")
		}
		out = append(out, f)
	}
	return out, nil
}

func refusal(code, message string) error {
	return &wire.Error{Code: code, Message: message}
}

func (f filter) matches(m *machine) bool {
	return slices.ContainsFunc(f.of(m), func(have string) bool {
		return slices.ContainsFunc(f.values, func(pattern string) bool { return wildcard(pattern, have) })
	})
}

func matchesAll(fs []filter, m *machine) bool {
	for _, f := range fs {
		if !f.matches(m) {
			return false
		}
	}
	return true
}

// instanceFilter knows the filters of DescribeInstances that an instance here has anything for.
func instanceFilter(name string) func(*machine) []string {
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		return func(m *machine) []string { return tagValue(m, key) }
	}
	switch name {
	case "instance-id":
		return func(m *machine) []string { return []string{m.ID} }
	case "instance-state-name":
		return func(m *machine) []string { return []string{m.State} }
	case "instance-state-code":
		return func(m *machine) []string {
			code, _ := stateCode(m.State)
			return []string{strconv.Itoa(code)}
		}
	case "private-ip-address":
		return func(m *machine) []string { return []string{m.PrivateIP} }
	case "availability-zone":
		return func(m *machine) []string { return []string{m.AZ} }
	case "instance-type":
		return func(m *machine) []string { return []string{m.Type} }
	case "image-id":
		return func(m *machine) []string { return []string{m.ImageID} }
	case "tag-key":
		return tagKeys
	default:
		return nil
	}
}

func tagValue(m *machine, key string) []string {
	if v, ok := m.Tags[key]; ok {
		return []string{v}
	}
	return nil
}

func tagKeys(m *machine) []string {
	keys := make([]string, 0, len(m.Tags))
	for k := range m.Tags {
		keys = append(keys, k)
	}
	return keys
}

// wildcard matches s against a filter value, in which * stands for any text, ? for one character and \ takes the next one as it is.
func wildcard(pattern, s string) bool {
	if !strings.ContainsAny(pattern, `*?\`) {
		return pattern == s
	}
	return wildcardRunes([]rune(pattern), []rune(s))
}

// wildcardRunes goes back to the last * only, which makes it quadratic at worst.
func wildcardRunes(p, s []rune) bool {
	i, j, star, mark := 0, 0, -1, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && literalAt(p, i, s[j]):
			i += width(p, i)
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

func literalAt(p []rune, i int, c rune) bool {
	switch {
	case p[i] == '\\' && i+1 < len(p):
		return p[i+1] == c
	case p[i] == '?':
		return true
	default:
		return p[i] == c
	}
}

func width(p []rune, i int) int {
	if p[i] == '\\' && i+1 < len(p) {
		return 2
	}
	return 1
}
