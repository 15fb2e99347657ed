package report

import (
	"fmt"
	"strings"
	"time"
)

// Age says how long ago t was, in the largest unit that fits. AWS's time is known to a few seconds only, so
// that something may seem to come from the future.
func Age(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return Short(max(0, now.Sub(t))) + " ago"
}

// Due says when t comes, or that it has come.
func Due(now, t time.Time) string {
	if !now.Before(t) {
		return Age(now, t)
	}
	return "in " + Short(t.Sub(now))
}

// Short gives d in the largest unit that fits.
func Short(d time.Duration) string {
	switch {
	case d < 100*time.Second:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 100*time.Minute:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// Printable replaces control characters, and those that change the direction of text: workers write parts of it,
// and a terminal obeys some.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// seconds shows a percentile: tenths while they matter, and a dash for one that is not reached yet.
func seconds(s *float64) string {
	switch {
	case s == nil:
		return "-"
	case *s < 100:
		return fmt.Sprintf("%.1fs", *s)
	}
	return Short(time.Duration(*s * float64(time.Second)))
}

func outcome(passed bool) string {
	if passed {
		return "passed"
	}
	return "failed"
}
