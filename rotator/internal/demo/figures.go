package demo

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Figures are the result of a demo. Each is counted from what happened.
type Figures struct {
	Workers          int     `json:"workers"`
	SSHD             string  `json:"sshd"`      // as the workers' sshd identifies itself
	Rotations        int     `json:"rotations"` // completed
	Ready            int     `json:"ready"`     // workers that the rotator itself counted as ready for the last rotation
	Accepted         int     `json:"accepted"`  // workers whose sshd answered the query for the new key with yes
	Retired          int     `json:"retired"`   // workers that acknowledged that the old key is refused
	OldKeyRefused    int     `json:"oldKeyRefused"`
	NewKeyAccepted   int     `json:"newKeyAccepted"`
	LoginsTried      int     `json:"loginsTried"`
	LoginsFailed     int     `json:"loginsFailed"`
	ForeignLinesKept bool    `json:"foreignLinesKept"`
	Copy             Copied  `json:"copy"`
	SecondsToReady   float64 `json:"secondsToReady"`
	SecondsTotal     float64 `json:"secondsTotal"`
}

const (
	minLogins          = 40
	minLoginsPerSecond = 2
	// The agents' beacon polls come 48 s after the last one at the earliest.
	maxToReady = 30 * time.Second
)

// leastLogins is how many log-ins a demo that took so long must have tried, to have seen anything.
func leastLogins(took time.Duration) int {
	return max(minLogins, int(math.Ceil(minLoginsPerSecond*took.Seconds())))
}

// Wrong is a figure that is not as it should be.
type Wrong struct {
	Figure    string
	Want, Got string
}

func (w Wrong) String() string {
	return fmt.Sprintf("%s is %s and should be %s", w.Figure, w.Got, w.Want)
}

// Check compares f with what a demo of o should give.
func (f Figures) Check(o Options) []Wrong {
	var wrong []Wrong
	check := func(ok bool, figure string, want, got any) {
		if !ok {
			wrong = append(wrong, Wrong{Figure: figure, Want: fmt.Sprint(want), Got: fmt.Sprint(got)})
		}
	}
	for _, c := range []struct {
		figure    string
		want, got int
	}{
		{"workers", o.Workers, f.Workers},
		{"rotations", o.Rotations, f.Rotations},
		{"ready", o.Workers, f.Ready},
		{"accepted", o.Workers, f.Accepted},
		{"retired", o.Workers, f.Retired},
		{"oldKeyRefused", o.Workers, f.OldKeyRefused},
		{"newKeyAccepted", o.Workers, f.NewKeyAccepted},
		{"loginsFailed", 0, f.LoginsFailed},
		{"copy.bytes", copySize, int(f.Copy.Bytes)},
	} {
		check(c.got == c.want, c.figure, c.want, c.got)
	}
	least := leastLogins(time.Duration(f.SecondsTotal * float64(time.Second)))
	check(f.LoginsTried >= least, "loginsTried", fmt.Sprintf("at least %d", least), f.LoginsTried)
	check(f.ForeignLinesKept, "foreignLinesKept", true, f.ForeignLinesKept)
	check(f.Copy.SHA256Match, "copy.sha256Match", true, f.Copy.SHA256Match)
	check(f.SecondsToReady > 0 && f.SecondsToReady < maxToReady.Seconds(), "secondsToReady",
		fmt.Sprintf("positive and below %.0f", maxToReady.Seconds()), f.SecondsToReady)
	return wrong
}

// WrongError says which figures of a demo are not as they should be, and what explains them.
type WrongError struct {
	Wrong    []Wrong
	Failures []LoginFailure
	Doubts   []error
}

func (e *WrongError) Error() string {
	var b strings.Builder
	b.WriteString("the demo did not do what it should")
	for _, w := range e.Wrong {
		b.WriteString("; " + w.String())
	}
	if len(e.Failures) > 0 {
		b.WriteString("; log-ins failed, the first one " + e.Failures[0].String())
	}
	if len(e.Doubts) > 0 {
		b.WriteString("; " + e.Doubts[0].Error())
	}
	return b.String()
}

// seconds rounds to milliseconds: more would be noise.
func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond).Milliseconds()) / 1000
}
