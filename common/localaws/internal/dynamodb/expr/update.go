package expr

import (
	"slices"
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
)

// Update is a parsed UpdateExpression. Safe for concurrent use.
type Update struct {
	sets    []assignment
	removes []path
	adds    []amendment
	deletes []amendment
}

type assignment struct {
	at    path
	value sum
}

// amendment is one entry of ADD or DELETE.
type amendment struct {
	at    path
	value attr.Value
}

// Update parses text; nil gives an Update that changes nothing.
func (s *Scope) Update(text *string) (*Update, error) {
	u := &Update{}
	if text == nil {
		return u, nil
	}
	if err := s.parseUpdate(u, *text); err != nil {
		return nil, named("UpdateExpression", err)
	}
	return u, nil
}

func (s *Scope) parseUpdate(u *Update, text string) error {
	p, err := s.parser(text)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.peek().kind != tokenEnd {
		word := p.next()
		clause := strings.ToUpper(word.text)
		if seen[clause] {
			return refusal("The %q section can only be used once in an update expression;", clause)
		}
		seen[clause] = true
		if err := p.parseClause(u, clause, word); err != nil {
			return err
		}
	}
	return checkDistinct(u.paths())
}

func (p *parser) parseClause(u *Update, clause string, word token) (err error) {
	switch clause {
	case "SET":
		u.sets, err = list(p, p.parseAssignment)
	case "REMOVE":
		u.removes, err = list(p, p.parsePath)
	case "ADD":
		u.adds, err = list(p, func() (amendment, error) {
			return p.parseAmendment("ADD", func(k attr.Kind) bool { return k == attr.Number || k.IsSet() })
		})
	case "DELETE":
		u.deletes, err = list(p, func() (amendment, error) { return p.parseAmendment("DELETE", attr.Kind.IsSet) })
	default:
		err = syntaxError(p.text, word)
	}
	return err
}

func (p *parser) parseAssignment() (assignment, error) {
	at, err := p.parsePath()
	if err != nil {
		return assignment{}, err
	}
	if err := p.expect("="); err != nil {
		return assignment{}, err
	}
	value, err := p.parseSum()
	return assignment{at, value}, err
}

func (p *parser) parseAmendment(clause string, allowed func(attr.Kind) bool) (amendment, error) {
	at, err := p.parsePath()
	if err != nil {
		return amendment{}, err
	}
	t := p.next()
	if t.kind != tokenValue {
		return amendment{}, syntaxError(p.text, t)
	}
	v, err := p.scope.value(t.text)
	if err != nil {
		return amendment{}, err
	}
	return amendment{at, v}, wantKind(clause, literal{v}, allowed)
}

func (u *Update) paths() []path {
	paths := slices.Clone(u.removes)
	for _, s := range u.sets {
		paths = append(paths, s.at)
	}
	for _, a := range slices.Concat(u.adds, u.deletes) {
		paths = append(paths, a.at)
	}
	return paths
}

// Attributes lists the top-level attributes that the update touches.
func (u *Update) Attributes() []string {
	var names []string
	for _, p := range u.paths() {
		names = append(names, p[0].name)
	}
	return names
}

// Touched returns the parts of it that the update names, for UPDATED_OLD and UPDATED_NEW.
func (u *Update) Touched(it attr.Item) attr.Item {
	if len(u.paths()) == 0 {
		return attr.Item{}
	}
	return (&Projection{u.paths()}).Apply(it)
}
