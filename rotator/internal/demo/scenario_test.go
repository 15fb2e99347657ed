package demo

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// without gives the programs with one safeguard of the rotator switched off.
func without(t *testing.T, tag string) Binaries {
	t.Helper()
	b, dir := programs(t), t.TempDir()
	if err := build(dir, tag, "rotator/cmd/bootstrap"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{b.Agent, b.Rotatessh} {
		// Not a copy: a process that is started at the same time would hold it open for writing, for a moment.
		if err := os.Link(path, filepath.Join(dir, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	weak, err := FindBinaries(dir)
	if err != nil {
		t.Fatal(err)
	}
	return weak
}

// playScenario runs the compiled command and reads its one JSON object, strictly, into facts.
func playScenario(t *testing.T, b Binaries, name string, into facts) (status int, said string) {
	t.Helper()
	d := startDemo(t, b, "--scenario", name, "--json")
	status = d.wait(t)
	dec := json.NewDecoder(strings.NewReader(d.stdout.String()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		t.Fatalf("standard output holds no facts: %v: %q\n%s", err, d.stdout.String(), d.stderr.String())
	}
	if dec.More() {
		t.Errorf("standard output holds more than one object: %q", d.stdout.String())
	}
	d.awaitGone(t)
	t.Logf("%s", d.stdout.String())
	return status, d.stderr.String()
}

// mustBeAsExpected plays a scenario with all safeguards and gives what it told.
func mustBeAsExpected(t *testing.T, name string, into facts) (said string) {
	t.Helper()
	t.Parallel() // a scenario spends most of its time waiting
	status, said := playScenario(t, programs(t), name, into)
	c := into.common()
	wrong := wrongOf(append(into.findings(), c.findings()...))
	if status != 0 || !c.AsExpected || c.Scenario != name || len(wrong) > 0 {
		t.Errorf("exit status %d, wrong %v\n%s", status, wrong, said)
	}
	return said
}

// mustNotice plays a scenario without a safeguard and checks that the named fact is wrong, among others.
func mustNotice(t *testing.T, tag, name, fact string, into facts) {
	t.Helper()
	t.Parallel()
	status, said := playScenario(t, without(t, tag), name, into)
	c := into.common()
	found := false
	for _, w := range wrongOf(append(into.findings(), c.findings()...)) {
		found = found || w.Figure == fact
	}
	if status != 1 || c.AsExpected || !found || !strings.Contains(said, fact+" is ") {
		t.Errorf("exit status %d, as expected: %v, %q noticed: %v\n%s", status, c.AsExpected, fact, found, said)
	}
}

func mustSay(t *testing.T, said string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(said, text) {
			t.Errorf("it does not say %q:\n%s", text, said)
		}
	}
}

func TestSilentWorkerIsNamedWaivedAndConvergesLater(t *testing.T) {
	var f silentWorkerFacts
	said := mustBeAsExpected(t, "silent-worker", &f)
	mustSay(t, said, "the agent of worker-3 ("+f.StoppedWorker+") is stopped", "testSecret failed after ",
		f.StoppedWorker+" (behind: ", "$ rotatessh waive "+f.StoppedWorker, "3 of 3 workers refuse the old key")
}

func TestSwitchWithoutGateIsNoticed(t *testing.T) {
	var f silentWorkerFacts
	mustNotice(t, "rotatessh_nogate", "silent-worker", "switchedEarly", &f)
	if f.LoginsFailed == 0 {
		t.Error("the controllers were not locked out of the worker that had not followed")
	}
}

func TestRotatorThatDiesAfterTheSwitchIsRepairedByEventOrSchedule(t *testing.T) {
	var f crashFinishFacts
	said := mustBeAsExpected(t, "crash-finish", &f)
	mustSay(t, said, "the rotator is killed right after AWSCURRENT has moved", "the rotator's schedule comes round", "every worker refuses the old key")
}

func TestSwitchThatNobodyCompletesIsNoticed(t *testing.T) {
	var f crashFinishFacts
	mustNotice(t, "rotatessh_norepair", "crash-finish", "oldKeyRefused", &f)
}

func TestRotationIsGivenUpUnlessItHasJustSwitched(t *testing.T) {
	var f abortFacts
	said := mustBeAsExpected(t, "abort", &f)
	mustSay(t, said, "$ rotatessh abort --reason", "is still accepted by 2 workers", "cannot be given up: its key is the current one by now")
}

func TestKeyThatIsDroppedAtOnceIsNoticed(t *testing.T) {
	mustNotice(t, "rotatessh_noorphan", "abort", "givenUpAccepted", new(abortFacts))
}

func TestAbortDuringTheSwitchIsNoticed(t *testing.T) {
	mustNotice(t, "rotatessh_nolease", "abort", "switchedAfterAbort", new(abortFacts))
}

func TestPreviousKeyIsRolledBackToOnceTheFleetIsReady(t *testing.T) {
	var f rollbackFacts
	said := mustBeAsExpected(t, "rollback", &f)
	mustSay(t, said, "$ rotatessh rollback --reason", f.StoppedWorker+" (behind: ", "$ rotatessh resume --yes", "every worker accepts SHA256:")
}

func TestRollbackWithoutGateIsNoticed(t *testing.T) {
	var f rollbackFacts
	mustNotice(t, "rotatessh_nogate", "rollback", "switchedEarly", &f)
	if f.LoginsFailed == 0 {
		t.Error("the controllers were not locked out of the worker that had not followed")
	}
}

func TestStolenKeyIsRefusedAtOnceEverywhereElse(t *testing.T) {
	var f revokeFacts
	said := mustBeAsExpected(t, "revoke", &f)
	mustSay(t, said, "$ rotatessh revoke --reason", "ask with --accept-lockout=1", f.StoppedWorker+" (behind: ", "workers refuse the stolen key", "has been revoked")
}

func TestRevocationThatLosesWorkersUnaskedIsNoticed(t *testing.T) {
	mustNotice(t, "rotatessh_nolockout", "revoke", "switchedEarly", new(revokeFacts))
}

func TestStolenKeyThatIsMerelyRetiringIsNoticed(t *testing.T) {
	mustNotice(t, "rotatessh_norevoke", "revoke", "refusedAtOnce", new(revokeFacts))
}

func TestWorkersThatComeAndGoDoNotHoldARotationUp(t *testing.T) {
	var f lateJoinFacts
	said := mustBeAsExpected(t, "late-join", &f)
	mustSay(t, said, "worker-6 ("+f.ReturnedWorker+") is stopped", "worker-7 ("+f.LaunchedWorker+") is launched", "worker-5 is terminated",
		"worker-6 accepts the key in use after 1 pass")
}

func TestBootingWorkerThatCountsIsNoticed(t *testing.T) {
	var f lateJoinFacts
	mustNotice(t, "rotatessh_nograce", "late-join", "failedSteps", &f)
	if len(f.NamedWorkers) != 1 || f.NamedWorkers[0] != f.LaunchedWorker {
		t.Errorf("named are %q, want the launched worker %s", f.NamedWorkers, f.LaunchedWorker)
	}
}

func TestTerminatedWorkerThatCountsIsNoticed(t *testing.T) {
	var f lateJoinFacts
	mustNotice(t, "rotatessh_norelist", "late-join", "failedSteps", &f)
	if len(f.NamedWorkers) != 1 || f.NamedWorkers[0] != f.TerminatedWorker {
		t.Errorf("named are %q, want the terminated worker %s", f.NamedWorkers, f.TerminatedWorker)
	}
}

func TestEventStartsOneRotationAndTheNextIsRefused(t *testing.T) {
	var f eventDrivenFacts
	said := mustBeAsExpected(t, "event-driven", &f)
	mustSay(t, said, `an event asks for a rotation: "finding 4711`, "the report of the switch says who asked: event ", "one request in 10m0s is granted", "$ rotatessh rotate --reason")
}

func TestRotationsThatFollowEachOtherByRequestAreNoticed(t *testing.T) {
	mustNotice(t, "rotatessh_nowindow", "event-driven", "startedByRequest", new(eventDrivenFacts))
}

func TestWorkerWithoutAnAgentIsServedThroughSystemsManager(t *testing.T) {
	var f agentlessPushFacts
	said := mustBeAsExpected(t, "agentless-push", &f)
	mustSay(t, said, "worker-3 ("+f.AgentlessWorker+") has no agent", f.AgentlessWorker+" has no agent; its file was written by Systems Manager", "3 of 3 workers refuse the old key")
}

func TestOldKeyThatStaysOnAWorkerWithoutAnAgentIsNoticed(t *testing.T) {
	mustNotice(t, "rotatessh_noremoval", "agentless-push", "oldKeyRefused", new(agentlessPushFacts))
}

func TestScenarioThatIsEndedLeavesNothing(t *testing.T) {
	b := programs(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		d := startDemo(t, b, "--scenario", "rollback", "--json")
		d.awaitOutput(t, "$ rotatessh rollback")
		if err := d.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if status := d.wait(t); status == 0 {
			t.Errorf("%v: exit status 0", sig)
		}
		d.awaitGone(t)
		if out := d.stdout.String(); out != "" {
			t.Errorf("%v: a scenario that was ended printed facts: %q", sig, out)
		}
	}
}

// goodCommon is what goes well in every scenario.
func goodCommon(workers int) Common {
	return Common{Workers: workers, NewKeyAccepted: workers, OldKeyRefused: workers, LoginsTried: fewestLogins, ForeignLinesKept: true}
}

// spoilt is one fact that is not as expected.
type spoilt[F facts] map[string]func(F)

// mustNoticeEach checks that facts which make good are right, and that each spoilt one is noticed alone.
func mustNoticeEach[F facts](t *testing.T, good func() F, spoilt spoilt[F]) {
	t.Helper()
	wrong := func(f F) []Wrong { return wrongOf(append(f.findings(), f.common().findings()...)) }
	if wrong := wrong(good()); len(wrong) > 0 {
		t.Errorf("good facts are wrong: %v", wrong)
	}
	for fact, spoil := range spoilt {
		f := good()
		spoil(f)
		if wrong := wrong(f); len(wrong) != 1 || wrong[0].Figure != fact {
			t.Errorf("%s is spoilt, and wrong are %v", fact, wrong)
		}
	}
}

func TestEachWrongFactIsNoticed(t *testing.T) {
	mustNoticeEach(t, func() *silentWorkerFacts {
		return &silentWorkerFacts{
			Common: goodCommon(3), StoppedWorker: "i-1", FailedStep: "testSecret", NamedWorkers: []string{"i-1"}, ReasonCodes: map[string]int{"behind": 1},
			SecondsToFail: 5, DeadlineSeconds: 8, WaivedWorkers: []string{"i-1"}, ReadyInTheEnd: 3, ReportedRefusal: 3,
		}
	}, spoilt[*silentWorkerFacts]{
		"switchedEarly":    func(f *silentWorkerFacts) { f.SwitchedEarly = true },
		"failedStep":       func(f *silentWorkerFacts) { f.FailedStep = "" },
		"namedWorkers":     func(f *silentWorkerFacts) { f.NamedWorkers = []string{"i-2"} },
		"reasonCodes":      func(f *silentWorkerFacts) { f.ReasonCodes = nil },
		"secondsToFail":    func(f *silentWorkerFacts) { f.SecondsToFail = 8 },
		"waivedWorkers":    func(f *silentWorkerFacts) { f.WaivedWorkers = nil },
		"readyInTheEnd":    func(f *silentWorkerFacts) { f.ReadyInTheEnd = 2 },
		"reportedRefusal":  func(f *silentWorkerFacts) { f.ReportedRefusal = 0 },
		"newKeyAccepted":   func(f *silentWorkerFacts) { f.NewKeyAccepted = 2 },
		"oldKeyRefused":    func(f *silentWorkerFacts) { f.OldKeyRefused = 2 },
		"loginsFailed":     func(f *silentWorkerFacts) { f.LoginsFailed = 1 },
		"loginsTried":      func(f *silentWorkerFacts) { f.LoginsTried = fewestLogins - 1 },
		"foreignLinesKept": func(f *silentWorkerFacts) { f.ForeignLinesKept = false },
	})
	mustNoticeEach(t, func() *crashFinishFacts {
		return &crashFinishFacts{Common: goodCommon(3), Crashes: 2, LeftUndone: 2, RepairedBy: []string{byLabelEvent, bySchedule}}
	}, spoilt[*crashFinishFacts]{
		"crashes":     func(f *crashFinishFacts) { f.Crashes = 1 },
		"leftUndone":  func(f *crashFinishFacts) { f.LeftUndone = 1 },
		"repairedBy":  func(f *crashFinishFacts) { f.RepairedBy = []string{bySchedule} },
		"pendingLeft": func(f *crashFinishFacts) { f.PendingLeft = true },
	})
	mustNoticeEach(t, func() *abortFacts {
		return &abortFacts{Common: goodCommon(3), GivenUpAccepted: 2, AbortReported: true, NextRotation: true, LateAbortRefused: true}
	}, spoilt[*abortFacts]{
		"switched":           func(f *abortFacts) { f.Switched = true },
		"givenUpAccepted":    func(f *abortFacts) { f.GivenUpAccepted = 1 },
		"pendingLeft":        func(f *abortFacts) { f.PendingLeft = true },
		"abortReported":      func(f *abortFacts) { f.AbortReported = false },
		"nextRotation":       func(f *abortFacts) { f.NextRotation = false },
		"lateAbortRefused":   func(f *abortFacts) { f.LateAbortRefused = false },
		"switchedAfterAbort": func(f *abortFacts) { f.SwitchedAfterAbort = true },
	})
	mustNoticeEach(t, func() *rollbackFacts {
		return &rollbackFacts{
			Common: goodCommon(3), StoppedWorker: "i-1", Refused: true, NamedWorkers: []string{"i-1"}, ReasonCodes: map[string]int{"behind": 1},
			Resumed: true, PreviousInUse: true,
		}
	}, spoilt[*rollbackFacts]{
		"switchedEarly": func(f *rollbackFacts) { f.SwitchedEarly = true },
		"refused":       func(f *rollbackFacts) { f.Refused = false },
		"namedWorkers":  func(f *rollbackFacts) { f.NamedWorkers = nil },
		"reasonCodes":   func(f *rollbackFacts) { f.ReasonCodes = map[string]int{"silent": 1} },
		"resumed":       func(f *rollbackFacts) { f.Resumed = false },
		"previousInUse": func(f *rollbackFacts) { f.PreviousInUse = false },
	})
	mustNoticeEach(t, func() *revokeFacts {
		return &revokeFacts{
			Common: goodCommon(3), StoppedWorker: "i-1", NamedWorkers: []string{"i-1"}, ReasonCodes: map[string]int{"behind": 1}, WrongNumberRefused: true,
			GivenUpWorkers: []string{"i-1"}, RefusedAtOnce: 2, SecondsToRefuse: 1, ReadAgain: 1, RollbackRefused: true,
		}
	}, spoilt[*revokeFacts]{
		"switchedEarly":      func(f *revokeFacts) { f.SwitchedEarly = true },
		"namedWorkers":       func(f *revokeFacts) { f.NamedWorkers = nil },
		"reasonCodes":        func(f *revokeFacts) { f.ReasonCodes = nil },
		"wrongNumberRefused": func(f *revokeFacts) { f.WrongNumberRefused = false },
		"givenUpWorkers":     func(f *revokeFacts) { f.GivenUpWorkers = nil },
		"refusedAtOnce":      func(f *revokeFacts) { f.RefusedAtOnce = 1 },
		"secondsToRefuse":    func(f *revokeFacts) { f.SecondsToRefuse = patienceAtOnce.Seconds() },
		"readAgain":          func(f *revokeFacts) { f.ReadAgain = 0 },
		"rollbackRefused":    func(f *revokeFacts) { f.RollbackRefused = false },
	})
	mustNoticeEach(t, func() *eventDrivenFacts {
		return &eventDrivenFacts{Common: goodCommon(3), StartedByRequest: 1, RequestReported: true, SwitchReported: true, SecondRefused: true, CommandRefused: true}
	}, spoilt[*eventDrivenFacts]{
		"startedByRequest": func(f *eventDrivenFacts) { f.StartedByRequest = 2 },
		"requestReported":  func(f *eventDrivenFacts) { f.RequestReported = false },
		"switchReported":   func(f *eventDrivenFacts) { f.SwitchReported = false },
		"duplicateStarted": func(f *eventDrivenFacts) { f.DuplicateStarted = true },
		"secondRefused":    func(f *eventDrivenFacts) { f.SecondRefused = false },
		"commandRefused":   func(f *eventDrivenFacts) { f.CommandRefused = false },
	})
	mustNoticeEach(t, func() *agentlessPushFacts {
		return &agentlessPushFacts{
			Common: goodCommon(3), AgentlessWorker: "i-1", CommandsSent: 2, PushedWorkers: []string{"i-1"}, RemovedFrom: []string{"i-1"}, ReportedRefusal: 3,
		}
	}, spoilt[*agentlessPushFacts]{
		"acknowledgements": func(f *agentlessPushFacts) { f.Acknowledgements = 1 },
		"commandsSent":     func(f *agentlessPushFacts) { f.CommandsSent = 1 },
		"pushedWorkers":    func(f *agentlessPushFacts) { f.PushedWorkers = []string{} },
		"removedFrom":      func(f *agentlessPushFacts) { f.RemovedFrom = []string{} },
		"reportedRefusal":  func(f *agentlessPushFacts) { f.ReportedRefusal = 2 },
	})
	mustNoticeEach(t, func() *lateJoinFacts {
		return &lateJoinFacts{
			Common: goodCommon(6), NamedWorkers: []string{}, ReasonCodes: map[string]int{}, CountedAtSwitch: 4, QueueRemoved: true,
			MissedRotations: 3, LaunchedPasses: 1, ReturnedPasses: 1,
		}
	}, spoilt[*lateJoinFacts]{
		"failedSteps":     func(f *lateJoinFacts) { f.FailedSteps = 1 },
		"namedWorkers":    func(f *lateJoinFacts) { f.NamedWorkers = []string{"i-1"} },
		"reasonCodes":     func(f *lateJoinFacts) { f.ReasonCodes = map[string]int{"silent": 1} },
		"countedAtSwitch": func(f *lateJoinFacts) { f.CountedAtSwitch = 5 },
		"queueRemoved":    func(f *lateJoinFacts) { f.QueueRemoved = false },
		"missedRotations": func(f *lateJoinFacts) { f.MissedRotations = 2 },
		"launchedPasses":  func(f *lateJoinFacts) { f.LaunchedPasses = 2 },
		"returnedPasses":  func(f *lateJoinFacts) { f.ReturnedPasses = 2 },
	})
}

func TestFactsAreSaidInWords(t *testing.T) {
	got := []string{words(true), words(false), words(""), words("x"), words([]string{"a", "b"}), words([]string{}), words(map[string]int{"silent": 2, "behind": 1}), words(3), words(map[string]int{})}
	want := []string{"yes", "no", "none", "x", "a, b", "none", "1 behind, 2 silent", "3", "none"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
