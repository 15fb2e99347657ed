package rotation_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	logged "go.uber.org/zap/zaptest/observer"

	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/localaws"
	"github.com/rotatessh/rotatessh/rotator/internal/operator"
	"github.com/rotatessh/rotatessh/rotator/internal/rotation"
)

// requestEvent is what EventBridge delivers.
func (r *rig) requestEvent(id, reason string) json.RawMessage {
	event, err := json.Marshal(map[string]any{
		"version": "0", "id": id, "source": "rotatessh", "detail-type": "SSH Key Rotation Requested", "account": "111122223333",
		"resources": []string{}, "detail": map[string]string{"secretArn": r.arn, "reason": reason},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return event
}

func (r *rig) mustHandle(event json.RawMessage) rotation.Result {
	r.t.Helper()
	out, err := r.handle(event)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// adopt lets the test play the steps of a rotation that the rotator has started.
func (r *rig) adopt(token string) {
	r.t.Helper()
	r.watch.changed()
	for _, s := range steps() {
		r.mustStep(s, token)
	}
}

// forgetWindow is the same as to wait until the window is over.
func (r *rig) forgetWindow() {
	r.t.Helper()
	last, found, err := r.ledger.LastRequest(r.t.Context(), r.arn)
	if err != nil || !found {
		r.t.Fatalf("there is no window: %v", err)
	}
	if err := r.ledger.ReleaseWindow(r.t.Context(), last); err != nil {
		r.t.Fatal(err)
	}
	last.At = last.At.Add(-10 * time.Minute)
	if _, err := r.ledger.ClaimWindow(r.t.Context(), last, 0); err != nil {
		r.t.Fatal(err)
	}
}

func rotating(r *rig) { r.initial = existingSecret(r.t) }

func TestAnEventStartsARotationAndItsReasonIsReported(t *testing.T) {
	t.Parallel()
	core, logs := logged.New(zapcore.InfoLevel)
	r := newRig(t, 1, rotating, func(r *rig) { r.log = zap.New(core) })
	r.followPublications()
	r.rotate()
	out := r.mustHandle(r.requestEvent("e-1", "finding 42:\n\tkey seen in public \u0085"))
	if out.VersionID == "" || out.Refused != "" {
		t.Fatalf("answer is %+v", out)
	}
	const why = "event e-1 111122223333: finding 42: key seen in public"
	if got := r.reportOf("requested"); !got.Passed || got.VersionID != out.VersionID || got.Asked != why {
		t.Errorf("report is %+v", got)
	}
	if n := logs.FilterMessage("rotation is started by request").FilterField(zap.String("reason", "finding 42: key seen in public")).Len(); n != 1 {
		t.Errorf("%d log lines give the reason", n)
	}
	r.adopt(out.VersionID)
	r.complete(out.VersionID)
	if got := r.reportOf("finishSecret"); got.VersionID != out.VersionID || got.Asked != why {
		t.Errorf("the rotation's own report is %+v", got)
	}
	r.rotate()
	if got := r.reportOf("finishSecret"); got.Asked != "" {
		t.Errorf("the next rotation's report has the reason of this one: %q", got.Asked)
	}
}

func TestTheVeryFirstRotationMayBeRequested(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	no := false
	if _, err := r.secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{
		SecretId: &r.arn, RotationLambdaARN: aws.String("arn:aws:lambda:us-east-1:111122223333:function:RotateSSH"), RotateImmediately: &no,
	}); err != nil {
		t.Fatal(err)
	}
	for range 100 { // until the test that this makes is over
		if version, _ := r.labelled("AWSPENDING"); version == "" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	out := r.mustHandle(r.requestEvent("e-1", "first"))
	if report := r.reportOf("requested"); report.VersionID != out.VersionID || report.Generation != 0 {
		t.Errorf("report is %+v", report)
	}
	r.adopt(out.VersionID)
}

func TestOneRequestInTenMinutesIsGranted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, rotating)
	r.followPublications()
	r.rotate()
	first := r.mustHandle(r.requestEvent("e-1", "a reason"))
	r.adopt(first.VersionID)
	second := r.mustHandle(r.requestEvent("e-2", "another one"))
	if second.VersionID != "" || !strings.Contains(second.Refused, "event e-1") || !strings.Contains(second.Refused, "a reason") {
		t.Errorf("the second is answered %+v", second)
	}
	r.complete(first.VersionID)
	if got := r.reportOf("request-refused"); got.Passed || got.Message != "no rotation is started: "+second.Refused || !strings.Contains(got.Asked, "e-2 111122223333: another one") {
		t.Errorf("report is %+v", got)
	}
	req := operator.New(operator.Rotate, r.arn, "ann")
	req.VersionID, req.Reason = "0123456789abcdef0123456789abcdef", "by hand"
	if _, err := r.ask(t.Context(), req); err == nil || !strings.Contains(err.Error(), "refused: event e-1") {
		t.Errorf("an operator's request within the window: %v", err)
	}
	r.forgetWindow()
	if again := r.mustHandle(r.requestEvent("e-2", "another one")); again.Refused != second.Refused {
		t.Errorf("a repetition of the refused event after the window is answered %+v", again)
	}
	r.complete(first.VersionID)
	third := r.mustHandle(r.requestEvent("e-3", "later"))
	if third.VersionID == "" || third.VersionID == first.VersionID {
		t.Errorf("after the window: %+v", third)
	}
	r.adopt(third.VersionID)
	r.complete(third.VersionID)
}

func TestRepeatedRequestsStartOneRotation(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, rotating)
	r.followPublications()
	r.rotate()
	const tries = 5
	answers := make(chan rotation.Result, tries)
	for range tries {
		go func() {
			out, err := r.rotator.Handle(t.Context(), r.requestEvent("e-1", "why"))
			if err != nil {
				t.Error(err)
			}
			answer, _ := out.(rotation.Result)
			answers <- answer
		}()
	}
	first := <-answers
	for range tries - 1 {
		if a := <-answers; a != first || a.Refused != "" {
			t.Errorf("answers %+v and %+v", a, first)
		}
	}
	r.adopt(first.VersionID)
	for range 2 { // also when the rotation is over, and another one after it
		if a := r.mustHandle(r.requestEvent("e-1", "why")); a != first {
			t.Errorf("a late repetition is answered %+v", a)
		}
		r.rotate()
	}
	if n := r.started(); n != 4 { // rotating, e-1, and two more
		t.Errorf("%d rotations were started", n)
	}
}

// started counts the rotations that Secrets Manager has begun.
func (r *rig) started() int {
	versions := make(map[string]bool)
	for _, c := range r.aws.Calls() {
		var in struct{ ClientRequestToken string }
		if c.Action == "RotateSecret" && (c.ErrorCode == "" || c.ErrorCode == "dropped") && json.Unmarshal(c.Input, &in) == nil {
			versions[in.ClientRequestToken] = true
		}
	}
	return len(versions)
}

// A request that dies after any of its calls, or whose answer gets lost, is completed by its repetition.
func TestARequestThatDiesAnywhereIsCompletedByItsRepetition(t *testing.T) {
	t.Parallel()
	for after := 1; ; after++ {
		r := newRig(t, 1, rotating)
		r.followPublications()
		r.rotate()
		var calls atomic.Int64
		var over atomic.Bool
		r.aws.OnCall(localaws.Fault{After: func(c localaws.Call) error {
			if c.Service == "lambda" || r.busy.Load() || over.Load() {
				return nil
			}
			switch n := calls.Add(1); {
			case n == int64(after):
				return localaws.ErrDrop
			case n > int64(after):
				return &localaws.APIError{Code: "InternalFailure", Status: 500}
			}
			return nil
		}})
		if _, err := r.handle(r.requestEvent("e-1", "why")); err == nil && calls.Load() < int64(after) {
			return // there are no more calls to die after
		}
		over.Store(true)
		out := r.mustHandle(r.requestEvent("e-1", "why"))
		if out.VersionID == "" || out.Refused != "" {
			t.Errorf("after call %d: the repetition is answered %+v", after, out)
		}
		if n := r.started(); n != 2 {
			t.Errorf("after call %d: %d rotations were started", after, n)
		}
		r.adopt(out.VersionID)
		r.complete(out.VersionID)
		if got := r.reportOf("requested"); got.VersionID != out.VersionID {
			t.Errorf("after call %d: report is %+v", after, got)
		}
	}
}

func TestRequestsThatCannotBeGrantedLeaveTheWindowOpen(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, rotating)
	r.followPublications()
	if _, err := r.handle(r.requestEvent("e-0", "why")); err != nil {
		t.Errorf("rotation was never switched on: %v", err)
	}
	if got := r.reportOf("request-refused"); !strings.Contains(got.Message, "switched off") {
		t.Errorf("report is %+v", got)
	}
	r.rotate()
	token := r.startRotation()
	if out := r.mustHandle(r.requestEvent("e-1", "why")); !strings.Contains(out.Refused, token) {
		t.Errorf("while a rotation is pending: %+v", out)
	}
	for _, s := range steps() {
		r.mustStep(s, token)
	}
	if out := r.mustHandle(r.requestEvent("e-2", " \n ")); !strings.Contains(out.Refused, "no reason") {
		t.Errorf("without a reason: %+v", out)
	}
	other := strings.Replace(string(r.requestEvent("e-3", "why")), r.arn, "arn:aws:secretsmanager:us-east-1:111122223333:secret:/other-AbCdEf", 1)
	if out := r.mustHandle(json.RawMessage(other)); !strings.Contains(out.Refused, "another key-pair secret") {
		t.Errorf("for another secret: %+v", out)
	}
	r.aws.OnCall(localaws.Fault{Before: func(c localaws.Call) error {
		if c.Action == "RotateSecret" && strings.Contains(string(c.Input), "refuse") {
			return &localaws.APIError{Code: "InvalidRequestException", Message: "You can't do that now.", Status: 400}
		}
		return nil
	}})
	req := operator.New(operator.Rotate, r.arn, "ann")
	req.VersionID, req.Reason = "refuse-refuse-refuse-refuse-refuse", "why"
	if _, err := r.ask(t.Context(), req); err == nil || !strings.Contains(err.Error(), "You can't do that now") {
		t.Errorf("refused by Secrets Manager: %v", err)
	}
	if _, found, err := r.ledger.LastRequest(t.Context(), r.arn); found || err != nil {
		t.Errorf("the window is taken: %v, %v", found, err)
	}
	if out := r.mustHandle(r.requestEvent("e-4", "why")); out.VersionID == "" {
		t.Errorf("at last: %+v", out)
	}
}

func TestAnOperatorsReasonTakesTheSameWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, rotating)
	r.followPublications()
	r.rotate()
	req := operator.New(operator.Rotate, r.arn, "ann")
	req.VersionID, req.Reason = "0123456789abcdef0123456789abcdef", "INC-7"
	out := r.mustAsk(req)
	if out.VersionID != req.VersionID || out.Already || out.CurrentVersionID == req.VersionID {
		t.Errorf("answer is %+v", out)
	}
	if again := r.mustAsk(req); !again.Already {
		t.Errorf("the repetition is answered %+v", again)
	}
	r.adopt(req.VersionID)
	if got := r.reportOf("finishSecret"); got.VersionID != req.VersionID || got.Asked != "ann: INC-7" {
		t.Errorf("report is %+v", got)
	}
	r.complete(req.VersionID)
	if got := r.mustHandle(r.requestEvent("e-1", "why")); !strings.Contains(got.Refused, "ann has started") {
		t.Errorf("an event within the operator's window: %+v", got)
	}
}

func TestARequestWaitsForNoWindowThatAnEarlierRunLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	now := time.Now()
	one := ledger.RotationRequest{SecretARN: "arn:x", ID: "1", At: now}
	two := ledger.RotationRequest{SecretARN: "arn:x", ID: "2", At: now.Add(9 * time.Minute)}
	claim := func(req ledger.RotationRequest) (string, error) {
		holder, err := r.ledger.ClaimWindow(t.Context(), req, 10*time.Minute)
		return holder.ID, err
	}
	for _, c := range []struct {
		req    ledger.RotationRequest
		holder string
		err    error
	}{{one, "1", nil}, {two, "1", ledger.ErrWindowHeld}, {one, "1", nil}} {
		if holder, err := claim(c.req); holder != c.holder || !errors.Is(err, c.err) {
			t.Errorf("claim for %s: %s, %v", c.req.ID, holder, err)
		}
	}
	if err := r.ledger.ReleaseWindow(t.Context(), two); err != nil {
		t.Error(err)
	}
	two.At = now.Add(10 * time.Minute)
	if holder, err := claim(two); holder != "2" || err != nil {
		t.Errorf("claim after the window: %s, %v", holder, err)
	}
}

// makeQueues makes the queues of instances and subscribes them to the topic.
func (r *rig) makeQueues(ids ...string) {
	r.t.Helper()
	topic, err := r.sns.CreateTopic(r.t.Context(), &sns.CreateTopicInput{Name: aws.String("rotatessh-keyset-published")})
	for _, id := range ids {
		if err == nil {
			_, err = r.sqs.CreateQueue(r.t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("rotatessh-" + id)})
		}
		if err == nil {
			_, err = r.sns.Subscribe(r.t.Context(), &sns.SubscribeInput{
				TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:111122223333:rotatessh-" + id),
			})
		}
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// wantQueues checks which instances have a queue, and which a subscription.
func (r *rig) wantQueues(when string, ids ...string) {
	r.t.Helper()
	queues, err := r.sqs.ListQueues(r.t.Context(), &sqs.ListQueuesInput{})
	if err != nil {
		r.t.Fatal(err)
	}
	subscriptions, err := r.sns.ListSubscriptionsByTopic(r.t.Context(), &sns.ListSubscriptionsByTopicInput{
		TopicArn: aws.String("arn:aws:sns:us-east-1:111122223333:rotatessh-keyset-published"),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	var have, subscribed []string
	for _, url := range queues.QueueUrls {
		have = append(have, url[strings.LastIndex(url, "i-"):])
	}
	for _, s := range subscriptions.Subscriptions {
		subscribed = append(subscribed, (*s.Endpoint)[strings.LastIndex(*s.Endpoint, "i-"):])
	}
	if !slices.Equal(have, ids) || !slices.Equal(subscribed, ids) {
		r.t.Errorf("%s: queues of %v and subscriptions of %v, want those of %v", when, have, subscribed, ids)
	}
}

func TestATerminatedInstancesQueueAndSubscriptionAreRemoved(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.makeQueues("i-0123456789abcdef0", "i-0123456789abcdef1")
	event := func(id, state string) (rotation.Result, error) {
		return r.handle(json.RawMessage(fmt.Sprintf(`{"source":"aws.ec2","detail-type":"EC2 Instance State-change Notification","detail":{"instance-id":%q,"state":%q}}`, id, state)))
	}
	for _, state := range []string{"pending", "running", "stopping", "stopped", "shutting-down"} {
		if out, err := event("i-0123456789abcdef0", state); err != nil || out.Ignored == "" {
			t.Errorf("%s: %+v, %v", state, out, err)
		}
	}
	for _, removed := range []bool{true, false} {
		if out, err := event("i-0123456789abcdef0", "terminated"); err != nil || out.QueueRemoved != removed {
			t.Errorf("terminated: %+v, %v", out, err)
		}
	}
	for _, id := range []string{"", "../x", "i-", "i-0123456789abcdefg"} {
		if out, err := event(id, "terminated"); err == nil {
			t.Errorf("instance %q: %+v", id, out)
		}
	}
	r.wantQueues("in the end", "i-0123456789abcdef1")
}

// minute is a clock that stands still.
type minute int

func (m minute) Now() (time.Time, bool) {
	return time.Date(2026, 11, 24, 20, int(m), 30, 0, time.UTC), true
}

func TestOneScheduleInAnHourSweepsQueues(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.makeQueues("i-0123456789abcdef0")
	for _, c := range []struct {
		at   minute
		left []string
	}{{5, []string{"i-0123456789abcdef0"}}, {59, []string{"i-0123456789abcdef0"}}, {4, nil}} {
		r.parts.Clock = c.at
		if _, err := rotation.New(r.parts).Handle(t.Context(), scheduleEvent()); err != nil {
			t.Fatal(err)
		}
		r.wantQueues(fmt.Sprintf("after the schedule at minute %d", c.at), c.left...)
	}
}
