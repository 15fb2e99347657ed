package expr

import (
	"cmp"
	"maps"
	"slices"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
)

// Apply returns a changed copy of it; every right-hand side sees it as it was. it itself is never changed.
func (u *Update) Apply(it attr.Item) (attr.Item, error) {
	root := attr.Value{Kind: attr.Map, Fields: it}
	if it == nil {
		root.Fields = attr.Item{}
	}
	steps := []func(attr.Item, attr.Value) (attr.Value, error){u.applySets, u.applyAdds, u.applyDeletes, u.applyRemoves}
	for _, step := range steps {
		var err error
		if root, err = step(it, root); err != nil {
			return nil, err
		}
	}
	return root.Fields, nil
}

func (u *Update) applySets(old attr.Item, root attr.Value) (attr.Value, error) {
	for _, s := range u.sets {
		v, err := s.value.compute(old)
		if err != nil {
			return root, err
		}
		if root, err = put(root, s.at, v); err != nil {
			return root, err
		}
	}
	return root, nil
}

func (u *Update) applyAdds(old attr.Item, root attr.Value) (attr.Value, error) {
	for _, a := range u.adds {
		have, ok := a.at.find(old)
		v, err := added(have, ok, a.value)
		if err != nil {
			return root, err
		}
		if root, err = put(root, a.at, v); err != nil {
			return root, err
		}
	}
	return root, nil
}

func added(have attr.Value, ok bool, more attr.Value) (attr.Value, error) {
	switch {
	case !ok:
		return more, nil
	case have.Kind != more.Kind:
		return attr.Value{}, wrongType()
	case more.Kind == attr.Number:
		return attr.Add(have, more)
	}
	union := slices.Clone(have.Elems)
	for _, e := range more.Elems {
		if !have.Contains(e) {
			union = append(union, e)
		}
	}
	return attr.NewSet(have.Kind, union)
}

func (u *Update) applyDeletes(old attr.Item, root attr.Value) (attr.Value, error) {
	for _, d := range u.deletes {
		have, ok := d.at.find(old)
		if ok && have.Kind != d.value.Kind {
			return root, wrongType()
		}
		left := slices.DeleteFunc(slices.Clone(have.Elems), d.value.Contains)
		var err error
		if len(left) == 0 {
			root, err = remove(root, d.at)
		} else {
			root, err = put(root, d.at, attr.Value{Kind: have.Kind, Elems: left})
		}
		if err != nil {
			return root, err
		}
	}
	return root, nil
}

// applyRemoves takes deeper paths and higher list indices first, because an expression's indices all mean the item as it was.
func (u *Update) applyRemoves(_ attr.Item, root attr.Value) (attr.Value, error) {
	order := slices.Clone(u.removes)
	slices.SortStableFunc(order, func(a, b path) int {
		return cmp.Or(len(b)-len(a), b[len(b)-1].index-a[len(a)-1].index)
	})
	for _, p := range order {
		var err error
		if root, err = remove(root, p); err != nil {
			return root, err
		}
	}
	return root, nil
}

func wrongType() error {
	return refusal("An operand in the update expression has an incorrect data type")
}

func invalidPath() error {
	return refusal("The document path provided in the update expression is invalid for update")
}

// put returns v with x at p; everything above the last step must exist. An index past the end appends.
func put(v attr.Value, p path, x attr.Value) (attr.Value, error) {
	s := p[0]
	if len(p) > 1 {
		inner, ok := child(v, s)
		if !ok {
			return v, invalidPath()
		}
		changed, err := put(inner, p[1:], x)
		if err != nil {
			return v, err
		}
		x = changed
	}
	switch {
	case !s.isIndex && v.Kind == attr.Map:
		v.Fields = maps.Clone(v.Fields)
		v.Fields[s.name] = x
	case s.isIndex && v.Kind == attr.List && s.index < len(v.Elems):
		v.Elems = slices.Clone(v.Elems)
		v.Elems[s.index] = x
	case s.isIndex && v.Kind == attr.List:
		v.Elems = append(slices.Clone(v.Elems), x)
	default:
		return v, invalidPath()
	}
	return v, nil
}

// remove returns v without what stands at p; nothing there is no fault, but a parent that is missing or of the wrong kind is.
func remove(v attr.Value, p path) (attr.Value, error) {
	s := p[0]
	inner, ok := child(v, s)
	switch {
	case !ok && (len(p) > 1 || v.Kind != s.container()):
		return v, invalidPath()
	case len(p) > 1:
		changed, err := remove(inner, p[1:])
		if err != nil {
			return v, err
		}
		return put(v, p[:1], changed)
	case !ok:
		return v, nil
	case s.isIndex:
		v.Elems = slices.Delete(slices.Clone(v.Elems), s.index, s.index+1)
	default:
		v.Fields = maps.Clone(v.Fields)
		delete(v.Fields, s.name)
	}
	return v, nil
}
