package awstime_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotatessh/rotatessh/common/awstime"
)

func TestTheClockKnowsNothingUntilAWSHasAnswered(t *testing.T) {
	var c awstime.Clock
	c.Observe(time.Time{})
	if now, ok := c.Now(); ok {
		t.Errorf("a clock that observed nothing says %v", now)
	}
}

func TestTimeRunsOnBetweenAnswersWhateverTheWallClockSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c awstime.Clock
		aws := time.Date(2040, 5, 6, 7, 8, 9, 0, time.UTC) // far from the bubble's wall clock, which starts in 2000
		c.Observe(aws)
		time.Sleep(90 * time.Minute)
		if now, ok := c.Now(); !ok || !now.Equal(aws.Add(90*time.Minute)) {
			t.Errorf("got %v, %v", now, ok)
		}
	})
}

func TestAnAnswerOfWholeSecondsNeverTurnsTheClockBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c awstime.Clock
		aws := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		c.Observe(aws)
		var last time.Time
		for range 20 {
			time.Sleep(300 * time.Millisecond)
			c.Observe(aws.Add(300 * time.Millisecond).Truncate(time.Second))
			now, _ := c.Now()
			if now.Before(last) {
				t.Fatalf("the clock went from %v back to %v", last, now)
			}
			last, aws = now, aws.Add(300*time.Millisecond)
			if now.After(aws) {
				t.Fatalf("the clock runs ahead: %v, AWS has %v", now, aws)
			}
		}
	})
}

func TestAClockThatIsFarOffIsCorrected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c awstime.Clock
		right := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		c.Observe(right.Add(24 * time.Hour)) // a proxy's nonsense
		c.Observe(right)
		if now, _ := c.Now(); !now.Equal(right) {
			t.Errorf("got %v, want %v", now, right)
		}
	})
}
