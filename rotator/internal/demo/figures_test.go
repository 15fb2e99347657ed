package demo

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/ledger"
)

func rightFigures() Figures {
	return Figures{
		Workers: 3, SSHD: "OpenSSH_9.2p1", Rotations: 2, Ready: 3, Accepted: 3, Retired: 3, OldKeyRefused: 3, NewKeyAccepted: 3,
		LoginsTried: 80, ForeignLinesKept: true, Copy: Copied{Bytes: copySize, SHA256Match: true}, SecondsToReady: 0.3, SecondsTotal: 9.5,
	}
}

func TestEveryFigureIsChecked(t *testing.T) {
	if wrong := rightFigures().Check(DefaultOptions()); len(wrong) > 0 {
		t.Fatalf("right figures are called wrong: %v", wrong)
	}
	for figure, spoil := range map[string]func(*Figures){
		"workers":          func(f *Figures) { f.Workers = 2 },
		"rotations":        func(f *Figures) { f.Rotations = 1 },
		"ready":            func(f *Figures) { f.Ready = 2 },
		"accepted":         func(f *Figures) { f.Accepted = 4 },
		"retired":          func(f *Figures) { f.Retired = 0 },
		"oldKeyRefused":    func(f *Figures) { f.OldKeyRefused = 2 },
		"newKeyAccepted":   func(f *Figures) { f.NewKeyAccepted = 2 },
		"loginsFailed":     func(f *Figures) { f.LoginsFailed = 1 },
		"loginsTried":      func(f *Figures) { f.LoginsTried = 39 },
		"foreignLinesKept": func(f *Figures) { f.ForeignLinesKept = false },
		"copy.bytes":       func(f *Figures) { f.Copy.Bytes = 1 },
		"copy.sha256Match": func(f *Figures) { f.Copy.SHA256Match = false },
		"secondsToReady":   func(f *Figures) { f.SecondsToReady = 0 },
	} {
		f := rightFigures()
		spoil(&f)
		wrong := f.Check(DefaultOptions())
		if len(wrong) != 1 || wrong[0].Figure != figure {
			t.Errorf("with a wrong %s: %v", figure, wrong)
		}
	}
}

func TestLoginsMustKeepPaceWithTime(t *testing.T) {
	f := rightFigures()
	f.SecondsTotal = 41
	if wrong := f.Check(DefaultOptions()); len(wrong) != 1 || wrong[0].Figure != "loginsTried" {
		t.Errorf("80 log-ins in 41 s: %v", wrong)
	}
}

func TestReadyAfterTheBeaconsPollIsWrong(t *testing.T) {
	f := rightFigures()
	f.SecondsToReady = 55
	if wrong := f.Check(DefaultOptions()); len(wrong) != 1 || wrong[0].Figure != "secondsToReady" {
		t.Errorf("ready after 55 s: %v", wrong)
	}
}

func TestFiguresAsJSON(t *testing.T) {
	got, err := json.Marshal(rightFigures())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"workers":3,"sshd":"OpenSSH_9.2p1","rotations":2,"ready":3,"accepted":3,"retired":3,"oldKeyRefused":3,` +
		`"newKeyAccepted":3,"loginsTried":80,"loginsFailed":0,"foreignLinesKept":true,"copy":{"bytes":1048576,"sha256Match":true},` +
		`"secondsToReady":0.3,"secondsTotal":9.5}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestWrongErrorSaysWhatWasWrong(t *testing.T) {
	err := &WrongError{
		Wrong:    []Wrong{{Figure: "ready", Want: "3", Got: "2"}},
		Failures: []LoginFailure{{Controller: "fresh controller", Worker: "worker-2", After: 1500 * time.Millisecond, Err: errors.New("refused")}},
		Doubts:   []error{errors.New("worker-1 still accepts the old key")},
	}
	for _, want := range []string{"ready is 2 and should be 3", "log-ins failed", "after 1.5s fresh controller on worker-2: refused", "still accepts"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestReadyCountIsTheRotatorsOfThatRotation(t *testing.T) {
	reports := []ledger.Report{
		{VersionID: "b", Phase: "steady", Passed: true, Ready: 9},
		{VersionID: "b", Phase: "finishSecret", Passed: true, Ready: 0},
		{VersionID: "b", Phase: "testSecret", Passed: true, Ready: 3},
		{VersionID: "b", Phase: "testSecret", Passed: false, Ready: 8},
		{VersionID: "a", Phase: "testSecret", Passed: true, Ready: 7},
	}
	if got := countReady(reports, "b"); got != 3 {
		t.Errorf("ready is %d, want 3", got)
	}
}

func TestOptionsAreValidated(t *testing.T) {
	if err := DefaultOptions().Validate(); err != nil {
		t.Errorf("default options: %v", err)
	}
	o := Options{Workers: 0, Rotations: 1, RetireAfter: 0, Patience: time.Second, KeyType: "dsa"}
	err := o.Validate()
	for _, want := range []string{"0 workers", "1 rotations", "after 0s", `"dsa"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}
