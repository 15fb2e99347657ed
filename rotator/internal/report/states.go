package report

import (
	"cmp"
	"slices"
)

// StateCount is how many workers are in a state.
type StateCount struct {
	State   string `json:"state"`
	Workers int    `json:"workers"`
	Example string `json:"example,omitempty"` // what one of them says
}

// States counts the workers by state, waived ones apart, the most frequent first and Ready last.
func (r Report) States() []StateCount {
	var list []StateCount
	at := make(map[string]int)
	for _, w := range r.Workers {
		state := w.State
		if w.Waived {
			state += " (waived)"
		}
		i, known := at[state]
		if !known {
			i = len(list)
			at[state] = i
			list = append(list, StateCount{State: state, Example: w.Message})
		}
		list[i].Workers++
	}
	weight := func(s StateCount) int {
		if s.State == Ready {
			return 0
		}
		return s.Workers
	}
	slices.SortStableFunc(list, func(a, b StateCount) int { return cmp.Compare(weight(b), weight(a)) })
	return list
}
