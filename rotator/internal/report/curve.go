package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

// The chart's measures, in the units of its view box. They are those of a phone, so that its text can be read there.
const (
	chartWidth, chartHeight = 360, 190
	chartLeft, chartRight   = 40, 345
	chartTop, chartBottom   = 12, 160
)

// curve is a chart of how the share of workers grew: a line that steps up at each of them, or at each percent.
type curve struct {
	Title, Caption, Label                        string
	Width, Height, Left, Right, XLabels, YLabels int
	X, Y                                         []tick
	Line, Area                                   string // SVG paths
	Figures                                      []figure
}

// tick is a labelled place on an axis.
type tick struct {
	At, Text float64 // the line's place and the text's
	Label    string
}

// figure is a row of the table that says the same as the chart.
type figure struct{ Label, Value string }

func newCurve(title string, c Convergence, now time.Time) curve {
	end, step := axis(c, now)
	x := func(s float64) float64 { return round(chartLeft + (chartRight-chartLeft)*min(s, end)/end) }
	y := func(share float64) float64 { return round(chartBottom - (chartBottom-chartTop)*share) }
	v := curve{
		Title: title, Width: chartWidth, Height: chartHeight, Left: chartLeft, Right: chartRight, XLabels: chartBottom + 18, YLabels: chartLeft - 6,
		Caption: fmt.Sprintf("%s; p50 %s, p99 %s; from %s on; key %s", plural.Share(c.Done, c.Of, "worker"), seconds(c.P50), seconds(c.P99), c.From.UTC().Format("2006-01-02 15:04:05 UTC"), c.Fingerprint),
		Label:   fmt.Sprintf("Chart: share of workers over time, %d of %d in the end, half of them after %s", c.Done, c.Of, seconds(c.P50)),
	}
	v.Line = path(c, x, y, end)
	v.Area = fmt.Sprintf("%sV%gH%gZ", v.Line, y(0), x(0))
	for _, share := range []float64{0, 0.5, 1} {
		v.Y = append(v.Y, tick{At: y(share), Text: y(share) + 4, Label: fmt.Sprintf("%g%%", 100*share)})
	}
	for s := 0.0; s <= end+step/2; s += step {
		v.X = append(v.X, tick{At: x(s), Label: tickLabel(s)})
	}
	for _, p := range []int{10, 50, 90, 99, 100} {
		v.Figures = append(v.Figures, figure{fmt.Sprintf("%d %%", p), percentile(c, p)})
	}
	return v
}

func percentile(c Convergence, p int) string {
	d, known := c.Percentile(p)
	if !known {
		return "-"
	}
	s := d.Seconds()
	return seconds(&s)
}

// path goes up at each of the times.
func path(c Convergence, x, y func(float64) float64, end float64) string {
	var d strings.Builder
	fmt.Fprintf(&d, "M%g %g", x(0), y(0))
	for i, s := range c.Seconds {
		fmt.Fprintf(&d, "H%gV%g", x(s), y(float64(i+1)/float64(c.Steps())))
	}
	fmt.Fprintf(&d, "H%g", x(end))
	return d.String()
}

// axis chooses where the time ends and how far its marks are apart. While some are missing it goes on to now, but no
// further than leaves what has happened to be seen.
func axis(c Convergence, now time.Time) (end, step float64) {
	last := 0.0
	if len(c.Seconds) > 0 {
		last = c.Seconds[len(c.Seconds)-1]
	}
	end = max(last*1.05, 0.5)
	if c.Done < c.Of {
		end = max(end, min(now.Sub(c.From).Seconds(), 4*end))
	}
	for _, step = range []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600, 7200, 4 * 3600, 12 * 3600, 86400, 2 * 86400} {
		if end/step <= 5 {
			break
		}
	}
	return math.Ceil(end/step) * step, step
}

func tickLabel(s float64) string {
	switch {
	case s < 120:
		return fmt.Sprintf("%gs", round(s))
	case s < 7200:
		return fmt.Sprintf("%gm", round(s/60))
	}
	return fmt.Sprintf("%gh", round(s/3600))
}

func round(f float64) float64 { return math.Round(f*10) / 10 }
