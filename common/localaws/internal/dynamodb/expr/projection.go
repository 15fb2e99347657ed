package expr

import (
	"slices"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
)

// Projection is a parsed ProjectionExpression. A nil Projection keeps whole items. Safe for concurrent use.
type Projection struct{ paths []path }

// Projection parses text; nil gives nil.
func (s *Scope) Projection(text *string) (*Projection, error) {
	if text == nil {
		return nil, nil
	}
	paths, err := s.projectionPaths(*text)
	if err != nil {
		return nil, named("ProjectionExpression", err)
	}
	return &Projection{paths}, nil
}

func (s *Scope) projectionPaths(text string) ([]path, error) {
	p, err := s.parser(text)
	if err != nil {
		return nil, err
	}
	paths, err := list(p, p.parsePath)
	if err != nil {
		return nil, err
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	return paths, checkDistinct(paths)
}

// Apply returns the chosen parts of it, each in its place; chosen list elements close up.
func (p *Projection) Apply(it attr.Item) attr.Item {
	if p == nil || it == nil {
		return it
	}
	return choose(attr.Value{Kind: attr.Map, Fields: it}, p.paths).Fields
}

// choose keeps of v only what the paths reach, all of which start inside v.
func choose(v attr.Value, paths []path) attr.Value {
	out := attr.Value{Kind: v.Kind}
	if v.Kind == attr.Map {
		out.Fields = attr.Item{}
	}
	for _, s := range firstSteps(paths) {
		inner, ok := child(v, s)
		if !ok {
			continue
		}
		part, ok := chooseInside(inner, tails(paths, s))
		switch {
		case !ok:
		case s.isIndex:
			out.Elems = append(out.Elems, part)
		default:
			out.Fields[s.name] = part
		}
	}
	return out
}

func chooseInside(v attr.Value, paths []path) (attr.Value, bool) {
	if len(paths[0]) == 0 {
		return v, true
	}
	out := choose(v, paths)
	return out, len(out.Fields)+len(out.Elems) > 0
}

// firstSteps lists the different first steps, list indices in ascending order.
func firstSteps(paths []path) []step {
	var steps []step
	for _, p := range paths {
		if !slices.Contains(steps, p[0]) {
			steps = append(steps, p[0])
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return a.index - b.index })
	return steps
}

func tails(paths []path, first step) []path {
	var rest []path
	for _, p := range paths {
		if p[0] == first {
			rest = append(rest, p[1:])
		}
	}
	return rest
}
