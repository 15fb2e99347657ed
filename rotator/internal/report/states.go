package report

import (
	"cmp"
	"slices"
)

// StateCount is how many workers are in a state.
type StateCount struct {
	State   string // with "(waived)" or "(pushed)" behind it for workers that are
	Ready   bool
	Workers int
	Example string // what one of them says
}

// States counts the workers by state, the most frequent first and those that are ready last.
func (r Report) States() []StateCount {
	var list []StateCount
	at := make(map[string]int)
	for _, w := range r.Workers {
		i, known := at[w.label()]
		if !known {
			i = len(list)
			at[w.label()] = i
			list = append(list, StateCount{State: w.label(), Ready: w.State == Ready, Example: w.Message})
		}
		list[i].Workers++
	}
	slices.SortStableFunc(list, func(a, b StateCount) int {
		if a.Ready != b.Ready && a.Ready {
			return 1
		} else if a.Ready != b.Ready {
			return -1
		}
		return cmp.Compare(b.Workers, a.Workers)
	})
	return list
}
