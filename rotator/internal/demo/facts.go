package demo

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// facts is what one scenario has observed: a struct for JSON that embeds Common.
type facts interface {
	common() *Common
	// findings compares the scenario's own facts with what they should be. It looks at nothing else.
	findings() []Finding
}

// Common are the facts that every scenario observes.
type Common struct {
	Scenario         string  `json:"scenario"`
	AsExpected       bool    `json:"asExpected"` // follows from all other facts
	Workers          int     `json:"workers"`    // in the end
	SSHD             string  `json:"sshd"`
	NewKeyAccepted   int     `json:"newKeyAccepted"` // workers that let the key log in which is current in the end
	OldKeyRefused    int     `json:"oldKeyRefused"`  // workers that refused every other key that was current or given up
	LoginsTried      int     `json:"loginsTried"`    // by the controllers
	LoginsFailed     int     `json:"loginsFailed"`
	ForeignLinesKept bool    `json:"foreignLinesKept"`
	SecondsTotal     float64 `json:"secondsTotal"`
}

// fewestLogins is how many log-ins the controllers must have tried to have seen anything.
const fewestLogins = 20

func (c *Common) common() *Common { return c }

func (c *Common) findings() []Finding {
	return []Finding{
		equal("newKeyAccepted", "workers that the key in use opens, in real log-ins", c.NewKeyAccepted, c.Workers),
		equal("oldKeyRefused", "workers that refuse every other key, in real log-ins", c.OldKeyRefused, c.Workers),
		equal("loginsFailed", "failed log-ins of the controllers", c.LoginsFailed, 0),
		atLeast("loginsTried", "log-ins of the controllers", c.LoginsTried, fewestLogins),
		equal("foreignLinesKept", "foreign lines in authorized_keys unchanged", c.ForeignLinesKept, true),
	}
}

// Finding is one fact beside what was expected of it.
type Finding struct {
	Fact      string // its name in the JSON
	Says      string // in words
	Got, Want string
	Right     bool
}

func equal[T any](fact, says string, got, want T) Finding {
	return Finding{Fact: fact, Says: says, Got: words(got), Want: words(want), Right: reflect.DeepEqual(got, want)}
}

func atLeast(fact, says string, got, least int) Finding {
	return Finding{Fact: fact, Says: says, Got: words(got), Want: fmt.Sprintf("at least %d", least), Right: got >= least}
}

func below(fact, says string, got, limit float64) Finding {
	return Finding{Fact: fact, Says: says, Got: words(got), Want: fmt.Sprintf("below %g", limit), Right: got < limit}
}

// words is how a person would say v.
func words(v any) string {
	switch v := v.(type) {
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case string:
		if v == "" {
			return "none"
		}
	case []string:
		if len(v) == 0 {
			return "none"
		}
		return strings.Join(v, ", ")
	case map[string]int:
		if len(v) == 0 {
			return "none"
		}
		var all []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			all = append(all, fmt.Sprintf("%d %s", v[name], name))
		}
		return strings.Join(all, ", ")
	}
	return fmt.Sprint(v)
}

func wrongOf(findings []Finding) []Wrong {
	var wrong []Wrong
	for _, f := range findings {
		if !f.Right {
			wrong = append(wrong, Wrong{Figure: f.Fact, Want: f.Want, Got: f.Got})
		}
	}
	return wrong
}
