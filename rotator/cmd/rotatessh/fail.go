package main

import (
	"errors"
	"fmt"
	"io"
)

// usageError is a mistake in how the command was called: exit status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// hintedError adds what the operator can do about an error.
type hintedError struct {
	error
	hint string
}

func (e hintedError) Unwrap() error { return e.error }

// withHint gives err a hint, which is printed on a line of its own. A nil err stays nil.
func withHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return hintedError{error: err, hint: fmt.Sprintf(format, args...)}
}

// fail prints err, and its outermost hint if it has one, and gives the exit status: 2 for a mistake in the
// call, 1 for everything else.
func fail(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "rotatessh: error: %v\n", err)
	if hinted, ok := errors.AsType[hintedError](err); ok {
		fmt.Fprintf(stderr, "rotatessh: hint: %s\n", hinted.hint)
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	return 1
}
