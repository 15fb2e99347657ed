package ledger

import (
	"math"
	"slices"
	"time"
)

// spreadSteps is the largest number of points of a Spread: one for each percent.
const spreadSteps = 100

// Spread tells how fast the workers of a fleet did something: how long it took until a given share of them had.
// It is small enough for a report of any fleet. The zero value is that of nobody.
type Spread struct {
	From time.Time `json:"from"` // what the seconds count from, AWS time
	Of   int       `json:"of"`   // workers that count
	Done int       `json:"done"` // those of them that have done it
	// Seconds are nearest-rank quantiles over all Of workers, those that have not done it being infinitely slow:
	// element i says when (i+1)/n of them had, for an n of Of or 100, whichever is less. It ends where
	// that is not known yet.
	Seconds []float64 `json:"seconds"`
}

// NewSpread makes the Spread of workers that had done it at the given times, out of a number that count. A time
// before from, which AWS's clock as seen by two machines allows, is taken for from. It keeps no reference to at.
func NewSpread(from time.Time, of int, at []time.Time) Spread {
	s := Spread{From: from, Of: max(of, len(at)), Done: len(at), Seconds: []float64{}}
	took := make([]float64, len(at))
	for i, t := range at {
		took[i] = max(0, t.Sub(from).Round(time.Millisecond).Seconds())
	}
	slices.Sort(took)
	steps := s.Steps()
	for i := range steps {
		rank := (s.Of*(i+1) + steps - 1) / steps
		if rank > s.Done {
			break
		}
		s.Seconds = append(s.Seconds, took[rank-1])
	}
	return s
}

// Steps is the number of parts into which Seconds divides the workers.
func (s Spread) Steps() int { return min(s.Of, spreadSteps) }

// Percentile is the time within which that percentage of the workers had done it, by nearest rank: the smallest
// one that at least so many of them had reached. It is false while fewer have.
func (s Spread) Percentile(percent int) (time.Duration, bool) {
	i := (s.Steps()*percent+99)/100 - 1
	if i < 0 || i >= len(s.Seconds) {
		return 0, false
	}
	return time.Duration(math.Round(s.Seconds[i]*1000)) * time.Millisecond, true
}
