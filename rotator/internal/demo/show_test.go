package demo

import (
	"errors"
	"strings"
	"testing"
)

// fatal ends the test with err and the logs that explain it.
func fatal(t *testing.T, err error) {
	t.Helper()
	if logged, ok := errors.AsType[*LoggedError](err); ok {
		show(t, logged.Logs)
	}
	t.Fatal(err)
}

func show(t *testing.T, tails []Tail) {
	t.Helper()
	for _, tail := range tails {
		t.Logf("end of %s:\n%s", tail.Name, strings.Join(tail.Lines, "\n"))
	}
}
