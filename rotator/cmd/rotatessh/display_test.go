package main

import (
	"strings"
	"testing"
	"time"
)

func TestWithoutATerminalOnlyChangesAreShown(t *testing.T) {
	var out strings.Builder
	d := newDisplay(&out)
	d.show("waiting", 1, 3, time.Second)
	d.show("waiting", 1, 3, 2*time.Second)
	d.show("waiting", 2, 3, 63*time.Second)
	d.line("something failed")
	d.show("waiting", 2, 3, 64*time.Second)
	d.end()
	want := "waiting: 1/3 workers ready, 0:01\nwaiting: 2/3 workers ready, 1:03\nsomething failed\nwaiting: 2/3 workers ready, 1:04\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestOnATerminalOneLineChangesAndMakesRoom(t *testing.T) {
	var out strings.Builder
	d := &display{w: &out, terminal: true}
	d.show("waiting", 1, 3, time.Second)
	d.show("waiting", 1, 3, 2*time.Second)
	d.line("something failed")
	d.end()
	const clear = "\r\x1b[K"
	want := clear + "waiting: 1/3 workers ready, 0:01" + clear + "waiting: 1/3 workers ready, 0:02" + clear + "something failed\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestTextOfWorkersCannotMoveTheCursor(t *testing.T) {
	if got, want := printable("a\x1b[2Jb\u009bc\n\tü"), "a?[2Jb?c??ü"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
