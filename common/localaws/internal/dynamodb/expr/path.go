package expr

import (
	"strconv"
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
)

// step is one part of a document path: an attribute name, or a list index when isIndex is set.
type step struct {
	name    string
	index   int
	isIndex bool
}

func (s step) String() string {
	if s.isIndex {
		return "[" + strconv.Itoa(s.index) + "]"
	}
	return s.name
}

// container is the kind of value that has such parts.
func (s step) container() attr.Kind {
	if s.isIndex {
		return attr.List
	}
	return attr.Map
}

// path is a document path; its first step is always a name.
type path []step

// String writes the path as the service lists it in its refusals: [a, b, [0]].
func (p path) String() string {
	parts := make([]string, len(p))
	for i, s := range p {
		parts[i] = s.String()
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// find returns what stands at p in it.
func (p path) find(it attr.Item) (attr.Value, bool) {
	v := attr.Value{Kind: attr.Map, Fields: it}
	for _, s := range p {
		next, ok := child(v, s)
		if !ok {
			return attr.Value{}, false
		}
		v = next
	}
	return v, true
}

func child(v attr.Value, s step) (attr.Value, bool) {
	switch {
	case s.isIndex && v.Kind == attr.List && s.index < len(v.Elems):
		return v.Elems[s.index], true
	case !s.isIndex && v.Kind == attr.Map:
		next, ok := v.Fields[s.name]
		return next, ok
	default:
		return attr.Value{}, false
	}
}

// checkDistinct refuses a set of paths in which one contains another, or two treat one place as map and as list.
func checkDistinct(paths []path) error {
	for i, p := range paths {
		for _, q := range paths[:i] {
			if err := checkPair(q, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkPair(p, q path) error {
	for i := range min(len(p), len(q)) {
		if p[i] == q[i] {
			continue
		}
		if p[i].isIndex != q[i].isIndex {
			return refusal("Two document paths conflict with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", p, q)
		}
		return nil
	}
	return refusal("Two document paths overlap with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", p, q)
}
