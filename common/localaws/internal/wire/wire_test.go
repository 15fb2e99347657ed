package wire

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type topic struct {
	TopicArn string
	Names    []string `xml:"Names>member"`
}

func encode(r *Request, out any, err error) (string, *Answer) {
	a := Encode(r, "id-1", out, err)
	return string(a.Body), a
}

func TestResultsTakeTheShapeOfTheProtocol(t *testing.T) {
	result := topic{TopicArn: "arn<", Names: []string{"a", "b"}}
	for _, c := range []struct {
		r    Request
		out  any
		want string
	}{
		{Request{Protocol: JSON11}, map[string]int{"a": 1}, `{"a":1}`},
		{Request{Protocol: JSON10}, nil, `{}`},
		{Request{Service: "sns", Action: "CreateTopic", Protocol: Query}, result,
			`<CreateTopicResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><CreateTopicResult><TopicArn>arn&lt;</TopicArn><Names><member>a</member><member>b</member></Names></CreateTopicResult><ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></CreateTopicResponse>`},
		{Request{Service: "sqs", Action: "DeleteQueue", Protocol: Query}, nil,
			`<DeleteQueueResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></DeleteQueueResponse>`},
		{Request{Service: "ec2", Action: "DescribeTags", Protocol: EC2Query}, &result,
			`<DescribeTagsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>id-1</requestId><TopicArn>arn&lt;</TopicArn><Names><member>a</member><member>b</member></Names></DescribeTagsResponse>`},
	} {
		body, a := encode(&c.r, c.out, nil)
		if diff := cmp.Diff(c.want, body); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.r.Action, diff)
		}
		if a.Status != http.StatusOK || a.Code != "" || a.Header.Get("X-Amzn-Requestid") != "id-1" {
			t.Errorf("%s: %d %q %v", c.r.Action, a.Status, a.Code, a.Header)
		}
	}
}

func TestErrorsTakeTheShapeOfTheProtocol(t *testing.T) {
	e := &Error{Code: "QueueDoesNotExist", Message: "no <queue>", QueryCode: "AWS.SimpleQueueService.NonExistentQueue", Fields: map[string]any{"Item": 1}}
	body, a := encode(&Request{Protocol: JSON10}, nil, e)
	doc := map[string]any{}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"__type": "QueueDoesNotExist", "message": "no <queue>", "Message": "no <queue>", "Item": 1.0}
	if diff := cmp.Diff(want, doc); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	if a.Status != 400 || a.Header.Get("X-Amzn-Query-Error") != "AWS.SimpleQueueService.NonExistentQueue;Sender" || a.Code != e.Code {
		t.Errorf("JSON: %d %v", a.Status, a.Header)
	}
	var parsed struct {
		Error  xmlError
		Errors struct{ Error xmlError }
	}
	body, _ = encode(&Request{Protocol: Query}, nil, e)
	if err := xml.Unmarshal([]byte(body), &parsed); err != nil || parsed.Error != (xmlError{"Sender", e.QueryCode, e.Message}) {
		t.Errorf("query: %s, %v", body, err)
	}
	body, _ = encode(&Request{Protocol: EC2Query}, nil, e)
	if err := xml.Unmarshal([]byte(body), &parsed); err != nil || parsed.Errors.Error != (xmlError{"", e.Code, e.Message}) {
		t.Errorf("ec2: %s, %v", body, err)
	}
}

func TestOtherErrorsAreInternal(t *testing.T) {
	_, a := encode(&Request{Protocol: JSON11}, "ignored", errors.New("boom"))
	if a.Status != 500 || a.Code != "InternalFailure" {
		t.Errorf("%d %s", a.Status, a.Code)
	}
	if _, a = encode(&Request{Protocol: JSON11}, func() {}, nil); a.Status != 500 {
		t.Errorf("a result that has no JSON gave %d", a.Status)
	}
}

func TestDynamoDBAnswersCarryTheirChecksum(t *testing.T) {
	body, a := encode(&Request{Service: "dynamodb", Protocol: JSON10}, map[string]string{"a": "b"}, nil)
	if got := a.Header.Get("X-Amz-Crc32"); got != strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(body))), 10) {
		t.Errorf("checksum %s", got)
	}
}

func TestReadyAnswersAreSentAsTheyAre(t *testing.T) {
	w := httptest.NewRecorder()
	_, a := encode(&Request{Protocol: REST}, &Answer{Status: 202, Body: []byte("x")}, nil)
	a.Write(w)
	if w.Code != 202 || w.Body.String() != "x" || w.Header().Get("X-Amzn-Requestid") != "id-1" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
}

func TestDenialsSpeakAWSsWords(t *testing.T) {
	worker := Principal{Worker: "arn:aws:ec2:us-east-1:111122223333:instance/i-0abc"}
	for _, c := range []struct {
		code string
		r    *Request
	}{
		{"AccessDeniedException", &Request{Service: "secretsmanager", Action: "GetSecretValue", Protocol: JSON11}},
		{"AccessDeniedException", &Request{Service: "lambda", Action: "Invoke", Protocol: REST}},
		{"AccessDeniedException", &Request{Service: "sqs", Action: "SendMessage", Protocol: JSON10}},
		{"AccessDenied", &Request{Service: "sqs", Action: "SendMessage", Protocol: Query}},
		{"UnauthorizedOperation", &Request{Service: "ec2", Action: "DescribeInstances", Protocol: EC2Query}},
		{"AuthorizationError", &Request{Service: "sns", Action: "Publish", Protocol: Query}},
	} {
		code, r := c.code, c.r
		r.Principal, r.Account = worker, "111122223333"
		var e *Error
		if !errors.As(Denied(r, "arn:x"), &e) || e.Code != code {
			t.Errorf("%s:%s is %v", r.Service, r.Action, e)
		}
		want := "User: arn:aws:sts::111122223333:assumed-role/rotatessh-worker/i-0abc is not authorized to perform: " +
			r.Service + ":" + r.Action + " on resource: arn:x because no identity-based policy allows the " + r.Service + ":" + r.Action + " action"
		if !strings.HasSuffix(e.Message, want) {
			t.Errorf("message %q", e.Message)
		}
	}
}

func TestPrincipalsHaveNames(t *testing.T) {
	for want, p := range map[string]Principal{"operator": {AccessKeyID: "AKIA"}, "f": {Function: "f"}, "events": {Service: "events"}, "arn:i/1": {Worker: "arn:i/1"}} {
		if got := p.String(); got != want {
			t.Errorf("%+v is %q", p, got)
		}
		if arn := p.ARN("1"); !strings.HasPrefix(arn, "arn:aws:") {
			t.Errorf("%+v has ARN %q", p, arn)
		}
	}
}

func TestStrictDecodingRefusesUnknownMembers(t *testing.T) {
	var in struct{ A int }
	r := &Request{Action: "X", Body: []byte(`{"A":1,"B":2}`)}
	if err := Decode(r, &in); err != nil || in.A != 1 {
		t.Errorf("Decode = %v", err)
	}
	if err := DecodeStrict(r, &in); err == nil {
		t.Error("DecodeStrict accepted an unknown member")
	}
}

func TestTimesAreSecondsWithoutExponent(t *testing.T) {
	got, err := json.Marshal(Epoch(time.UnixMilli(1795533712938)))
	if err != nil || string(got) != "1795533712.938" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestRandomNamesHaveTheirForm(t *testing.T) {
	if a, b := NewUUID(), NewUUID(); len(a) != 36 || a == b || a[14] != '4' {
		t.Errorf("UUIDs %s %s", a, b)
	}
	if h := NewHex(17); len(h) != 17 {
		t.Errorf("hex %s", h)
	}
	if l := NewLetters(6); len(l) != 6 {
		t.Errorf("letters %s", l)
	}
}
