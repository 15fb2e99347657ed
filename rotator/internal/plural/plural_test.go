package plural_test

import (
	"testing"

	"github.com/rotatessh/rotatessh/rotator/internal/plural"
)

func TestOneIsNotMany(t *testing.T) {
	for n, want := range map[int]string{0: "0 workers are", 1: "1 worker is", 2: "2 workers are"} {
		if got := plural.Of(n, "worker") + " " + plural.Verb(n, "is", "are"); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
	for of, want := range map[int]string{1: "1 of 1 worker", 3: "1 of 3 workers"} {
		if got := plural.Share(1, of, "worker"); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}
