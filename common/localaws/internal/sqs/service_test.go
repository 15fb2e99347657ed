package sqs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/rotatessh/rotatessh/common/localaws/internal/sqs"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wiretest"
)

type fixture struct {
	*sdk.Client
	t        testing.TB
	service  *sqs.Service
	endpoint string
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	s := sqs.New(sqs.Deps{Region: wiretest.Region, Account: wiretest.Account})
	cfg := wiretest.Serve(t, map[string]wire.Handler{"sqs": s})
	return &fixture{sdk.NewFromConfig(cfg), t, s, *cfg.BaseEndpoint}
}

func (f *fixture) create(name string, attributes map[string]string) *string {
	f.t.Helper()
	out, err := f.CreateQueue(f.t.Context(), &sdk.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		f.t.Fatal(err)
	}
	return out.QueueUrl
}

func (f *fixture) send(queue *string, body string) {
	f.t.Helper()
	if _, err := f.SendMessage(f.t.Context(), &sdk.SendMessageInput{QueueUrl: queue, MessageBody: &body}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) receive(in *sdk.ReceiveMessageInput) []types.Message {
	f.t.Helper()
	out, err := f.ReceiveMessage(f.t.Context(), in)
	if err != nil {
		f.t.Fatal(err)
	}
	return out.Messages
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("error = %v, want %s", err, code)
	}
}

func TestAMessageGoesThroughTheSDK(t *testing.T) {
	f := newFixture(t)
	queue := f.create("q", nil)
	body := "päß <&> \"quoted\"\n"
	sent, err := f.SendMessage(t.Context(), &sdk.SendMessageInput{QueueUrl: queue, MessageBody: &body, MessageAttributes: map[string]types.MessageAttributeValue{
		"kind": {DataType: aws.String("String"), StringValue: aws.String("hint")}, "blob": {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := f.receive(&sdk.ReceiveMessageInput{
		QueueUrl: queue, MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	})
	if len(got) != 1 || aws.ToString(got[0].Body) != body || aws.ToString(got[0].MessageId) != aws.ToString(sent.MessageId) {
		t.Fatalf("received %+v", got)
	}
	m := got[0]
	if aws.ToString(m.MessageAttributes["kind"].StringValue) != "hint" || string(m.MessageAttributes["blob"].BinaryValue) != "\x00\x01" ||
		aws.ToString(m.MD5OfMessageAttributes) != aws.ToString(sent.MD5OfMessageAttributes) {
		t.Errorf("attributes = %+v", m.MessageAttributes)
	}
	if m.Attributes["ApproximateReceiveCount"] != "1" || m.Attributes["SenderId"] == "" || m.Attributes["SentTimestamp"] == "" {
		t.Errorf("system attributes = %v", m.Attributes)
	}
	if _, err := f.DeleteMessage(t.Context(), &sdk.DeleteMessageInput{QueueUrl: queue, ReceiptHandle: m.ReceiptHandle}); err != nil {
		t.Fatal(err)
	}
	counts := []types.QueueAttributeName{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"}
	out, err := f.GetQueueAttributes(t.Context(), &sdk.GetQueueAttributesInput{QueueUrl: queue, AttributeNames: counts})
	if err != nil || out.Attributes["ApproximateNumberOfMessages"] != "0" || out.Attributes["ApproximateNumberOfMessagesNotVisible"] != "0" {
		t.Errorf("after deletion: %+v, %v", out, err)
	}
}

func TestCreatingAQueueAgain(t *testing.T) {
	f := newFixture(t)
	first := f.create("q", map[string]string{"VisibilityTimeout": "60"})
	if again := f.create("q", map[string]string{"VisibilityTimeout": "60"}); *again != *first {
		t.Errorf("second creation gives %q, want %q", *again, *first)
	}
	f.create("q", map[string]string{"DelaySeconds": "0"}) // the default, which the queue has
	_, err := f.CreateQueue(t.Context(), &sdk.CreateQueueInput{QueueName: aws.String("q"), Attributes: map[string]string{"VisibilityTimeout": "61"}})
	if _, ok := errors.AsType[*types.QueueNameExists](err); !ok {
		t.Errorf("other attributes: %v, want QueueNameExists", err)
	}
	for name, attributes := range map[string]map[string]string{
		"a/b": nil, strings.Repeat("q", 81): nil,
		"v": {"VisibilityTimeout": "43201"}, "p": {"Policy": "{"}, "d": {"RedrivePolicy": "{}"}, "f": {"FifoQueue": "true"}, "u": {"Colour": "red"},
	} {
		if _, err := f.CreateQueue(t.Context(), &sdk.CreateQueueInput{QueueName: &name, Attributes: attributes}); err == nil {
			t.Errorf("queue %q with %v was created", name, attributes)
		}
	}
}

func TestAQueueThatIsNotThere(t *testing.T) {
	f := newFixture(t)
	queue := f.create("q", nil)
	_, err := f.GetQueueUrl(t.Context(), &sdk.GetQueueUrlInput{QueueName: aws.String("other")})
	var absent *types.QueueDoesNotExist
	if !errors.As(err, &absent) {
		t.Errorf("error = %v, want QueueDoesNotExist", err)
	}
	wantCode(t, err, "AWS.SimpleQueueService.NonExistentQueue")
	if _, err := f.DeleteQueue(t.Context(), &sdk.DeleteQueueInput{QueueUrl: queue}); err != nil {
		t.Fatal(err)
	}
	_, err = f.ReceiveMessage(t.Context(), &sdk.ReceiveMessageInput{QueueUrl: queue})
	if !errors.As(err, &absent) {
		t.Errorf("receiving from a deleted queue: %v", err)
	}
	_, err = f.CreateQueue(t.Context(), &sdk.CreateQueueInput{QueueName: aws.String("q")})
	wantCode(t, err, "AWS.SimpleQueueService.QueueDeletedRecently")
}

func TestAttributesAndTags(t *testing.T) {
	f := newFixture(t)
	queue := f.create("q", nil)
	policy := `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"*"}}`
	_, err := f.SetQueueAttributes(t.Context(), &sdk.SetQueueAttributesInput{QueueUrl: queue, Attributes: map[string]string{"Policy": policy, "VisibilityTimeout": "5"}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.GetQueueAttributes(t.Context(), &sdk.GetQueueAttributesInput{QueueUrl: queue, AttributeNames: []types.QueueAttributeName{"All"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"QueueArn": "arn:aws:sqs:us-east-1:111122223333:q", "Policy": policy, "VisibilityTimeout": "5", "MessageRetentionPeriod": "345600",
	} {
		if out.Attributes[name] != want {
			t.Errorf("%s = %q, want %q", name, out.Attributes[name], want)
		}
	}
	_, err = f.GetQueueAttributes(t.Context(), &sdk.GetQueueAttributesInput{QueueUrl: queue, AttributeNames: []types.QueueAttributeName{"Colour"}})
	wantCode(t, err, "InvalidAttributeName")
	arn := "arn:aws:ec2:us-east-1:111122223333:instance/i-1"
	if _, err := f.TagQueue(t.Context(), &sdk.TagQueueInput{QueueUrl: queue, Tags: map[string]string{"instance-arn": arn, "x": "y"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.UntagQueue(t.Context(), &sdk.UntagQueueInput{QueueUrl: queue, TagKeys: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	tags, err := f.ListQueueTags(t.Context(), &sdk.ListQueueTagsInput{QueueUrl: queue})
	if err != nil || len(tags.Tags) != 1 || tags.Tags["instance-arn"] != arn {
		t.Errorf("tags = %+v, %v", tags, err)
	}
}

func TestListingPagesThroughAllQueues(t *testing.T) {
	f := newFixture(t)
	var want []string
	for i := range 25 {
		want = append(want, fmt.Sprintf("rotatessh-%02d", i))
		f.create(want[i], nil)
	}
	f.create("another", nil)
	var got []string
	p := sdk.NewListQueuesPaginator(f.Client, &sdk.ListQueuesInput{QueueNamePrefix: aws.String("rotatessh-"), MaxResults: aws.Int32(10)})
	pages := 0
	for p.HasMorePages() {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, u := range out.QueueUrls {
			got = append(got, u[strings.LastIndex(u, "/")+1:])
		}
	}
	if !slices.Equal(got, want) || pages != 3 {
		t.Errorf("%d pages with %v, want 3 with %v", pages, got, want)
	}
	whole, err := f.ListQueues(t.Context(), &sdk.ListQueuesInput{})
	if err != nil || len(whole.QueueUrls) != 26 || whole.NextToken != nil {
		t.Errorf("without MaxResults: %d queues, token %v, %v", len(whole.QueueUrls), whole.NextToken, err)
	}
}

func TestBatchesTellEntriesApart(t *testing.T) {
	f := newFixture(t)
	queue := f.create("q", nil)
	sent, err := f.SendMessageBatch(t.Context(), &sdk.SendMessageBatchInput{QueueUrl: queue, Entries: []types.SendMessageBatchRequestEntry{
		{Id: aws.String("a"), MessageBody: aws.String("1")}, {Id: aws.String("b"), MessageBody: aws.String("\x01")},
	}})
	if err != nil || len(sent.Successful) != 1 || len(sent.Failed) != 1 || aws.ToString(sent.Failed[0].Code) != "InvalidMessageContents" {
		t.Fatalf("sent %+v, %v", sent, err)
	}
	m := f.receive(&sdk.ReceiveMessageInput{QueueUrl: queue, MaxNumberOfMessages: 10})
	deleted, err := f.DeleteMessageBatch(t.Context(), &sdk.DeleteMessageBatchInput{QueueUrl: queue, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: m[0].ReceiptHandle}, {Id: aws.String("b"), ReceiptHandle: aws.String("nonsense")},
	}})
	if err != nil || len(deleted.Successful) != 1 || len(deleted.Failed) != 1 || aws.ToString(deleted.Failed[0].Code) != "ReceiptHandleIsInvalid" {
		t.Errorf("deleted %+v, %v", deleted, err)
	}
	_, err = f.DeleteMessageBatch(t.Context(), &sdk.DeleteMessageBatchInput{QueueUrl: queue, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: m[0].ReceiptHandle}, {Id: aws.String("a"), ReceiptHandle: m[0].ReceiptHandle},
	}})
	wantCode(t, err, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct")
}

func TestBoundsOfAReceive(t *testing.T) {
	f := newFixture(t)
	queue := f.create("q", nil)
	for _, in := range []*sdk.ReceiveMessageInput{
		{QueueUrl: queue, WaitTimeSeconds: 21}, {QueueUrl: queue, MaxNumberOfMessages: 11}, {QueueUrl: queue, VisibilityTimeout: 43201},
	} {
		_, err := f.ReceiveMessage(t.Context(), in)
		wantCode(t, err, "InvalidParameterValue")
	}
}

// A long poll that the client gives up must not take the message that comes next.
func TestAClientThatGoesAwayTakesNoMessage(t *testing.T) {
	f := newFixture(t)
	queue := f.create("q", nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := f.ReceiveMessage(ctx, &sdk.ReceiveMessageInput{QueueUrl: queue, WaitTimeSeconds: 20})
		done <- err
	}()
	for f.service.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err == nil {
		t.Fatal("a receive whose context ended succeeded")
	}
	for f.service.Waiting() > 0 {
		time.Sleep(time.Millisecond)
	}
	f.send(queue, "next")
	if got := f.receive(&sdk.ReceiveMessageInput{QueueUrl: queue}); len(got) != 1 {
		t.Error("the message went to the client that had gone")
	}
}

// Clients from before 2023 speak the query protocol.
func TestTheQueryProtocol(t *testing.T) {
	f := newFixture(t)
	post := func(form url.Values) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.endpoint, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20261124/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	ok := func(form url.Values, parts ...string) {
		t.Helper()
		status, body := post(form)
		for _, part := range parts {
			if status != http.StatusOK || !strings.Contains(body, part) {
				t.Errorf("%s: %d without %q:\n%s", form.Get("Action"), status, part, body)
			}
		}
	}
	queue := strings.Replace(f.endpoint, "127.0.0.1", "localhost", 1) + "/111122223333/q"
	ok(url.Values{"Action": {"CreateQueue"}, "Version": {"2012-11-05"}, "QueueName": {"q"}, "Attribute.1.Name": {"VisibilityTimeout"}, "Attribute.1.Value": {"7"},
		"Tag.1.Key": {"a"}, "Tag.1.Value": {"b"}}, "<CreateQueueResult><QueueUrl>http://", "/111122223333/q</QueueUrl></CreateQueueResult>")
	ok(url.Values{"Action": {"GetQueueAttributes"}, "QueueUrl": {queue}, "AttributeName.1": {"VisibilityTimeout"}},
		"<GetQueueAttributesResult><Attribute><Name>VisibilityTimeout</Name><Value>7</Value></Attribute></GetQueueAttributesResult>")
	ok(url.Values{"Action": {"ListQueueTags"}, "QueueUrl": {queue}}, "<Tag><Key>a</Key><Value>b</Value></Tag>")
	ok(url.Values{"Action": {"SendMessage"}, "QueueUrl": {queue}, "MessageBody": {"a<b"}, "DelaySeconds": {"0"},
		"MessageAttribute.1.Name": {"kind"}, "MessageAttribute.1.Value.DataType": {"String"}, "MessageAttribute.1.Value.StringValue": {"hint"}},
		"<MD5OfMessageBody>", "<MD5OfMessageAttributes>")
	_, body := post(url.Values{"Action": {"ReceiveMessage"}, "QueueUrl": {queue}, "AttributeName.1": {"All"}, "MessageAttributeName.1": {"All"}})
	for _, part := range []string{
		"<ReceiveMessageResult><Message><MessageId>", "<Body>a&lt;b</Body>", "<Attribute><Name>ApproximateReceiveCount</Name><Value>1</Value></Attribute>",
		"<MessageAttribute><Name>kind</Name><Value><DataType>String</DataType><StringValue>hint</StringValue></Value></MessageAttribute>",
	} {
		if !strings.Contains(body, part) {
			t.Errorf("no %q in\n%s", part, body)
		}
	}
	_, rest, _ := strings.Cut(body, "<ReceiptHandle>")
	handle, _, _ := strings.Cut(rest, "</ReceiptHandle>")
	ok(url.Values{"Action": {"DeleteMessageBatch"}, "QueueUrl": {queue}, "DeleteMessageBatchRequestEntry.1.Id": {"x"}, "DeleteMessageBatchRequestEntry.1.ReceiptHandle": {handle}},
		"<DeleteMessageBatchResultEntry><Id>x</Id></DeleteMessageBatchResultEntry>")
	status, body := post(url.Values{"Action": {"GetQueueUrl"}, "QueueName": {"other"}})
	if status != http.StatusBadRequest || !strings.Contains(body, "<Code>AWS.SimpleQueueService.NonExistentQueue</Code>") {
		t.Errorf("queue that is not there: %d %s", status, body)
	}
}

func BenchmarkListAllQueues(b *testing.B) {
	s := sqs.New(sqs.Deps{Region: wiretest.Region, Account: wiretest.Account})
	do := func(action, body string) any {
		out, err := s.Handle(b.Context(), wiretest.Request("sqs", "AmazonSQS."+action, []byte(body)))
		if err != nil {
			b.Fatal(err)
		}
		return out
	}
	for i := range 100_000 {
		do("CreateQueue", fmt.Sprintf(`{"QueueName":"rotatessh-%d"}`, i))
	}
	for b.Loop() {
		total, token := 0, ""
		for {
			n, next := sqs.Page(do("ListQueues", fmt.Sprintf(`{"MaxResults":1000,"NextToken":%q}`, token)))
			total, token = total+n, next
			if token == "" {
				break
			}
		}
		if total != 100_000 {
			b.Fatalf("%d queues", total)
		}
	}
}
