package eventbridge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	snssdk "github.com/aws/aws-sdk-go-v2/service/sns"
	sqssdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/rotatessh/rotatessh/common/localaws/internal/eventbridge"
	"github.com/rotatessh/rotatessh/common/localaws/internal/sns"
	"github.com/rotatessh/rotatessh/common/localaws/internal/sqs"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wiretest"
)

const (
	queueARN    = "arn:aws:sqs:us-east-1:111122223333:q"
	topicARN    = "arn:aws:sns:us-east-1:111122223333:t"
	functionARN = "arn:aws:lambda:us-east-1:111122223333:function:RotateSSH"
)

type fixture struct {
	*sdk.Client
	t       testing.TB
	service *eventbridge.Service
	sqs     *sqssdk.Client
	sns     *snssdk.Client
	queue   *string

	mu        sync.Mutex
	functions []string // events that functions got
	events    []string // events recorded
}

// newFixture has a queue and a topic that let rules in, and a rule on the source "rotatessh".
func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t}
	queues := sqs.New(sqs.Deps{Region: wiretest.Region, Account: wiretest.Account})
	topics := sns.New(sns.Deps{Region: wiretest.Region, Account: wiretest.Account, Deliver: queues.Deliver})
	f.service = eventbridge.New(eventbridge.Deps{
		Region: wiretest.Region, Account: wiretest.Account, ToQueue: queues.Deliver, ToTopic: topics.PublishFrom,
		ToFunction: func(arn string, event []byte) { f.note(&f.functions, arn+" "+string(event)) },
		Record:     func(event json.RawMessage) { f.note(&f.events, string(event)) },
	})
	t.Cleanup(f.service.Close)
	cfg := wiretest.Serve(t, map[string]wire.Handler{"events": f.service, "sqs": queues, "sns": topics})
	f.Client, f.sqs, f.sns = sdk.NewFromConfig(cfg), sqssdk.NewFromConfig(cfg), snssdk.NewFromConfig(cfg)
	f.queue = f.createQueue("q", allow("sqs:SendMessage"))
	f.rule("r", `{"source":["rotatessh"]}`)
	return f
}

func (f *fixture) note(into *[]string, s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*into = append(*into, s)
}

func allow(action string) string {
	return `{"Statement":{"Effect":"Allow","Principal":{"Service":["events.amazonaws.com","sns.amazonaws.com"]},"Action":"` + action + `","Resource":"*"}}`
}

func (f *fixture) createQueue(name, policy string) *string {
	f.t.Helper()
	out, err := f.sqs.CreateQueue(f.t.Context(), &sqssdk.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"Policy": policy}})
	if err != nil {
		f.t.Fatal(err)
	}
	return out.QueueUrl
}

func (f *fixture) rule(name, pattern string) {
	f.t.Helper()
	if _, err := f.PutRule(f.t.Context(), &sdk.PutRuleInput{Name: &name, EventPattern: &pattern}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) target(rule string, targets ...types.Target) {
	f.t.Helper()
	out, err := f.PutTargets(f.t.Context(), &sdk.PutTargetsInput{Rule: &rule, Targets: targets})
	if err != nil || out.FailedEntryCount != 0 {
		f.t.Fatalf("%+v, %v", out, err)
	}
}

func to(id, arn string) types.Target { return types.Target{Id: &id, Arn: &arn} }

func (f *fixture) put(source, detail string) {
	f.t.Helper()
	out, err := f.PutEvents(f.t.Context(), &sdk.PutEventsInput{Entries: []types.PutEventsRequestEntry{
		{Source: &source, DetailType: aws.String("SSH Keyset Published"), Detail: &detail},
	}})
	if err != nil || out.FailedEntryCount != 0 || aws.ToString(out.Entries[0].EventId) == "" {
		f.t.Fatalf("%+v, %v", out, err)
	}
	f.service.Settle()
}

// bodies empties a queue.
func (f *fixture) bodies(queue *string) []string {
	f.t.Helper()
	out, err := f.sqs.ReceiveMessage(f.t.Context(), &sqssdk.ReceiveMessageInput{QueueUrl: queue, MaxNumberOfMessages: 10})
	if err != nil {
		f.t.Fatal(err)
	}
	var got []string
	for _, m := range out.Messages {
		got = append(got, *m.Body)
	}
	return got
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("error = %v, want %s", err, code)
	}
}

func TestAnEventReachesAQueueWhole(t *testing.T) {
	f := newFixture(t)
	f.target("r", to("1", queueARN))
	f.put("rotatessh", `{"generation":7}`)
	f.put("other", `{"generation":8}`)
	got := f.bodies(f.queue)
	if len(got) != 1 {
		t.Fatalf("queue has %q, want one event", got)
	}
	var e map[string]any
	if err := json.Unmarshal([]byte(got[0]), &e); err != nil {
		t.Fatal(err)
	}
	_, timeErr := time.Parse("2006-01-02T15:04:05Z", fmt.Sprint(e["time"]))
	if e["source"] != "rotatessh" || e["detail-type"] != "SSH Keyset Published" || e["account"] != wiretest.Account || e["region"] != wiretest.Region ||
		e["version"] != "0" || fmt.Sprint(e["id"]) == "" || fmt.Sprint(e["resources"]) != "[]" || fmt.Sprint(e["detail"]) != "map[generation:7]" || timeErr != nil {
		t.Errorf("event = %s", got[0])
	}
}

func TestAnEventReachesAllKindsOfTargets(t *testing.T) {
	f := newFixture(t)
	topic, err := f.sns.CreateTopic(t.Context(), &snssdk.CreateTopicInput{Name: aws.String("t"), Attributes: map[string]string{"Policy": allow("sns:Publish")}})
	if err != nil {
		t.Fatal(err)
	}
	behind := f.createQueue("behind", allow("sqs:SendMessage"))
	_, err = f.sns.Subscribe(t.Context(), &snssdk.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:111122223333:behind"),
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.target("r", to("queue", queueARN), to("topic", topicARN), to("function", functionARN))
	f.put("rotatessh", `{"n":1}`)
	direct, through := f.bodies(f.queue), f.bodies(behind)
	if len(direct) != 1 || !slices.Equal(direct, through) {
		t.Errorf("queue got %q, topic passed on %q", direct, through)
	}
	if want := []string{functionARN + " " + direct[0]}; !slices.Equal(f.functions, want) {
		t.Errorf("function got %q, want %q", f.functions, want)
	}
}

func TestTargetsThatDoNotLetTheRuleInGetNothing(t *testing.T) {
	f := newFixture(t)
	if _, err := f.sns.CreateTopic(t.Context(), &snssdk.CreateTopicInput{Name: aws.String("t")}); err != nil {
		t.Fatal(err)
	}
	closed := f.createQueue("closed", `{"Statement":{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*",
		"Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:events:us-east-1:111122223333:rule/another"}}}}`)
	f.target("r", to("topic", topicARN), to("closed", "arn:aws:sqs:us-east-1:111122223333:closed"), to("gone", "arn:aws:sqs:us-east-1:111122223333:gone"), to("queue", queueARN))
	f.put("rotatessh", `{}`)
	if got := f.bodies(closed); len(got) != 0 {
		t.Errorf("closed queue has %q", got)
	}
	if got := f.bodies(f.queue); len(got) != 1 {
		t.Errorf("open queue has %q, want one event", got)
	}
	if n := f.service.Dropped(); n != 3 {
		t.Errorf("%d deliveries dropped, want 3", n)
	}
}

func TestInputReplacesTheEvent(t *testing.T) {
	f := newFixture(t)
	constant, path, absent := to("a", queueARN), to("b", queueARN), to("c", queueARN)
	constant.Input, path.InputPath, absent.InputPath = aws.String(`{"op":"reconcile"}`), aws.String("$.detail.inner"), aws.String("$.detail.none")
	f.target("r", constant, path, absent)
	f.put("rotatessh", `{"inner":{"x":[1]}}`)
	if got, want := f.bodies(f.queue), []string{`{"op":"reconcile"}`, `{"x":[1]}`, `null`}; !slices.Equal(got, want) {
		t.Errorf("queue has %q, want %q", got, want)
	}
	both := to("d", queueARN)
	both.Input, both.InputPath = aws.String(`{}`), aws.String("$.detail")
	_, err := f.PutTargets(t.Context(), &sdk.PutTargetsInput{Rule: aws.String("r"), Targets: []types.Target{both}})
	wantCode(t, err, "ValidationException")
}

func TestEventsOfServicesArePutByTheServiceItself(t *testing.T) {
	f := newFixture(t)
	f.rule("label", `{"source":["aws.secretsmanager"],"detail-type":["Secret Label Updated"],"detail":{"labelUpdated":["AWSCURRENT"],"name":[{"prefix":"/dev/"}]}}`)
	f.target("label", to("1", queueARN))
	for _, label := range []string{"AWSCURRENT", "ROTATESSH_STAGED"} {
		err := f.service.Put(eventbridge.Event{
			Source: "aws.secretsmanager", DetailType: "Secret Label Updated", Resources: []string{"arn:aws:secretsmanager:…"},
			Detail: map[string]string{"name": "/dev/ssh", "labelUpdated": label, "versionId": "v"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	f.service.Settle()
	if got := f.bodies(f.queue); len(got) != 1 || !strings.Contains(got[0], "AWSCURRENT") {
		t.Errorf("queue has %q, want the event of AWSCURRENT", got)
	}
	if len(f.events) != 2 {
		t.Errorf("recorded %q, want both events", f.events)
	}
	if err := f.service.Put(eventbridge.Event{Detail: func() {}}); err == nil {
		t.Error("a detail that cannot be marshalled was put")
	}
	out, err := f.PutEvents(t.Context(), &sdk.PutEventsInput{Entries: []types.PutEventsRequestEntry{
		{Source: aws.String("aws.secretsmanager"), DetailType: aws.String("Secret Label Updated"), Detail: aws.String("{}")},
		{Source: aws.String("rotatessh"), DetailType: aws.String("x"), Detail: aws.String("[]")},
		{Source: aws.String("rotatessh"), Detail: aws.String("{}")},
		{Source: aws.String("rotatessh"), DetailType: aws.String("x"), Detail: aws.String("{}")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, e := range out.Entries {
		codes = append(codes, aws.ToString(e.ErrorCode))
	}
	if want := []string{"NotAuthorizedForSourceException", "MalformedDetail", "InvalidArgument", ""}; !slices.Equal(codes, want) || out.FailedEntryCount != 3 {
		t.Errorf("codes %q with %d failures, want %q with 3", codes, out.FailedEntryCount, want)
	}
}

func TestRulesComeAndGo(t *testing.T) {
	f := newFixture(t)
	f.target("r", to("1", queueARN))
	described, err := f.DescribeRule(t.Context(), &sdk.DescribeRuleInput{Name: aws.String("r")})
	if err != nil || aws.ToString(described.Arn) != "arn:aws:events:us-east-1:111122223333:rule/r" || described.State != types.RuleStateEnabled ||
		aws.ToString(described.EventPattern) != `{"source":["rotatessh"]}` {
		t.Errorf("rule = %+v, %v", described, err)
	}
	if _, err := f.DisableRule(t.Context(), &sdk.DisableRuleInput{Name: aws.String("r")}); err != nil {
		t.Fatal(err)
	}
	f.put("rotatessh", `{}`)
	if got := f.bodies(f.queue); len(got) != 0 {
		t.Errorf("a disabled rule delivered %q", got)
	}
	f.rule("r", `{"source":["other"]}`) // keeps its targets and is enabled again
	f.put("other", `{}`)
	if got := f.bodies(f.queue); len(got) != 1 {
		t.Errorf("the changed rule delivered %q, want one event", got)
	}
	_, err = f.DeleteRule(t.Context(), &sdk.DeleteRuleInput{Name: aws.String("r")})
	wantCode(t, err, "ValidationException")
	removed, err := f.RemoveTargets(t.Context(), &sdk.RemoveTargetsInput{Rule: aws.String("r"), Ids: []string{"1", "2"}})
	if err != nil || removed.FailedEntryCount != 1 {
		t.Errorf("removed %+v, %v; want one failure", removed, err)
	}
	left, err := f.ListTargetsByRule(t.Context(), &sdk.ListTargetsByRuleInput{Rule: aws.String("r")})
	if err != nil || len(left.Targets) != 0 {
		t.Errorf("targets left: %+v, %v", left, err)
	}
	for range 2 {
		if _, err := f.DeleteRule(t.Context(), &sdk.DeleteRuleInput{Name: aws.String("r")}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = f.PutTargets(t.Context(), &sdk.PutTargetsInput{Rule: aws.String("r"), Targets: []types.Target{to("1", queueARN)}})
	wantCode(t, err, "ResourceNotFoundException")
}

func TestListingPagesThroughAllRules(t *testing.T) {
	f := newFixture(t)
	var want []string
	for i := range 7 {
		want = append(want, fmt.Sprintf("list-%d", i))
		f.rule(want[i], `{"source":["x"]}`)
	}
	var got []string
	in := &sdk.ListRulesInput{NamePrefix: aws.String("list-"), Limit: aws.Int32(3)}
	for {
		out, err := f.ListRules(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Rules {
			got = append(got, *r.Name)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("rules = %v, want %v", got, want)
	}
}

func TestWhatTheBusRefuses(t *testing.T) {
	f := newFixture(t)
	_, err := f.PutRule(t.Context(), &sdk.PutRuleInput{Name: aws.String("bad"), EventPattern: aws.String(`{"source":"rotatessh"}`)})
	wantCode(t, err, "InvalidEventPatternException")
	for _, expression := range []string{"cron(0 * * * ? *)", "rate(1 minutes)", "rate(5 minute)", "rate(0 minutes)", "every 5 minutes"} {
		_, err = f.PutRule(t.Context(), &sdk.PutRuleInput{Name: aws.String("bad"), ScheduleExpression: &expression})
		wantCode(t, err, "ValidationException")
	}
	_, err = f.PutRule(t.Context(), &sdk.PutRuleInput{Name: aws.String("bad"), EventPattern: aws.String(`{"source":["x"]}`), EventBusName: aws.String("other")})
	wantCode(t, err, "ResourceNotFoundException")
	var many []types.PutEventsRequestEntry
	for range 11 {
		many = append(many, types.PutEventsRequestEntry{Source: aws.String("a"), DetailType: aws.String("b"), Detail: aws.String("{}")})
	}
	_, err = f.PutEvents(t.Context(), &sdk.PutEventsInput{Entries: many})
	wantCode(t, err, "ValidationException")
	big := `{"x":"` + strings.Repeat("x", 256<<10) + `"}`
	_, err = f.PutEvents(t.Context(), &sdk.PutEventsInput{Entries: []types.PutEventsRequestEntry{{Source: aws.String("a"), DetailType: aws.String("b"), Detail: &big}}})
	wantCode(t, err, "ValidationException")
	var six []types.Target
	for i := range 6 {
		six = append(six, to(fmt.Sprint(i), queueARN))
	}
	_, err = f.PutTargets(t.Context(), &sdk.PutTargetsInput{Rule: aws.String("r"), Targets: six})
	wantCode(t, err, "LimitExceededException")
	_, err = f.PutTargets(t.Context(), &sdk.PutTargetsInput{Rule: aws.String("r"), Targets: []types.Target{to("1", "arn:aws:kinesis:us-east-1:111122223333:stream/s")}})
	wantCode(t, err, "ValidationException")
	answer, err := f.TestEventPattern(t.Context(), &sdk.TestEventPatternInput{EventPattern: aws.String(`{"source":[{"prefix":"rot"}]}`), Event: aws.String(`{"source":"rotatessh"}`)})
	if err != nil || !answer.Result {
		t.Errorf("test of a pattern = %+v, %v", answer, err)
	}
}

func TestASchedulePutsItsOwnEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{}
		s := eventbridge.New(eventbridge.Deps{
			Region: wiretest.Region, Account: wiretest.Account, ToFunction: func(arn string, event []byte) { f.note(&f.functions, arn+" "+string(event)) },
		})
		defer s.Close()
		do := func(action, body string) {
			t.Helper()
			if _, err := s.Handle(t.Context(), wiretest.Request("events", "AWSEvents."+action, []byte(body))); err != nil {
				t.Fatal(err)
			}
		}
		wait := func(d time.Duration, want int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.functions) != want {
				t.Fatalf("%d events, want %d", len(f.functions), want)
			}
		}
		do("PutRule", `{"Name":"tick","ScheduleExpression":"rate(5 minutes)"}`)
		do("PutTargets", `{"Rule":"tick","Targets":[{"Id":"1","Arn":"`+functionARN+`"}]}`)
		wait(299*time.Second, 0)
		wait(time.Second, 1)
		wait(10*time.Minute, 3)
		do("DisableRule", `{"Name":"tick"}`)
		wait(10*time.Minute, 3)
		do("PutRule", `{"Name":"tick","ScheduleExpression":"rate(1 hour)"}`)
		wait(59*time.Minute, 3)
		wait(time.Minute, 4)
		s.Close()
		wait(24*time.Hour, 4)
		if e := f.functions[0]; !strings.Contains(e, `"detail-type":"Scheduled Event","source":"aws.events"`) || !strings.Contains(e, `:rule/tick"],"detail":{}`) {
			t.Errorf("event = %s", e)
		}
	})
}
