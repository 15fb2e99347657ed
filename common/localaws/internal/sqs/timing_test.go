package sqs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/sqs"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wiretest"
)

// clocked runs operations without HTTP, so that a fake clock can stand for the wait.
type clocked struct {
	t *testing.T
	s *sqs.Service
}

func newClocked(t *testing.T) *clocked {
	c := &clocked{t, sqs.New(sqs.Deps{Region: wiretest.Region, Account: wiretest.Account})}
	c.do("CreateQueue", `{"QueueName":"q"}`)
	return c
}

func (c *clocked) try(ctx context.Context, action, body string) (map[string]any, error) {
	r := wiretest.Request("sqs", "AmazonSQS."+action, []byte(body))
	out, err := c.s.Handle(ctx, r)
	if err != nil {
		return nil, err
	}
	doc := map[string]any{}
	raw, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	return doc, json.Unmarshal(raw, &doc)
}

func (c *clocked) do(action, body string) map[string]any {
	c.t.Helper()
	doc, err := c.try(c.t.Context(), action, body)
	if err != nil {
		c.t.Fatalf("%s: %v", action, err)
	}
	return doc
}

const inQ = `"QueueUrl":"http://localhost/111122223333/q"`

func (c *clocked) send(body string) {
	c.t.Helper()
	c.do("SendMessage", `{`+inQ+`,"MessageBody":"`+body+`"}`)
}

// receive returns the body and receipt handle of one message, and how long it took.
func (c *clocked) receive(members string) (body, handle string, took time.Duration) {
	c.t.Helper()
	start := time.Now()
	doc := c.do("ReceiveMessage", `{`+inQ+members+`}`)
	took = time.Since(start)
	messages, _ := doc["Messages"].([]any)
	if len(messages) == 0 {
		return "", "", took
	}
	m := messages[0].(map[string]any)
	return m["Body"].(string), m["ReceiptHandle"].(string), took
}

func (c *clocked) want(members, body string, took time.Duration) (handle string) {
	c.t.Helper()
	got, handle, elapsed := c.receive(members)
	if got != body || elapsed != took {
		c.t.Errorf("received %q after %s, want %q after %s", got, elapsed, body, took)
	}
	return handle
}

func timed(t *testing.T, test func(t *testing.T, c *clocked)) {
	synctest.Test(t, func(t *testing.T) { test(t, newClocked(t)) })
}

func TestALongPollLastsAsLongAsAskedFor(t *testing.T) {
	timed(t, func(_ *testing.T, c *clocked) {
		c.want(`,"WaitTimeSeconds":20`, "", 20*time.Second)
		c.want(`,"WaitTimeSeconds":1`, "", time.Second)
		c.want(``, "", 0)
		c.do("SetQueueAttributes", `{`+inQ+`,"Attributes":{"ReceiveMessageWaitTimeSeconds":"5"}}`)
		c.want(``, "", 5*time.Second)
		c.want(`,"WaitTimeSeconds":0`, "", 0)
	})
}

func TestALongPollEndsWhenAMessageComes(t *testing.T) {
	timed(t, func(_ *testing.T, c *clocked) {
		go func() {
			time.Sleep(3 * time.Second)
			c.send("hint")
		}()
		c.want(`,"WaitTimeSeconds":20`, "hint", 3*time.Second)
	})
}

func TestOneMessageEndsOneOfSeveralLongPolls(t *testing.T) {
	timed(t, func(t *testing.T, c *clocked) {
		results := make(chan string, 5)
		for range cap(results) {
			go func() {
				body, _, took := c.receive(`,"WaitTimeSeconds":20`)
				results <- fmt.Sprintf("%s after %s", body, took)
			}()
		}
		time.Sleep(2 * time.Second)
		c.send("hint")
		got := map[string]int{}
		for range cap(results) {
			got[<-results]++
		}
		if got["hint after 2s"] != 1 || got[" after 20s"] != 4 {
			t.Errorf("results %v, want one message after 2s and four waits of 20s", got)
		}
	})
}

func TestALongPollEndsWithItsContext(t *testing.T) {
	timed(t, func(t *testing.T, c *clocked) {
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.try(ctx, "ReceiveMessage", `{`+inQ+`,"WaitTimeSeconds":20}`); err == nil || time.Since(start) != 4*time.Second {
			t.Errorf("ended after %s with %v, want an error after 4s", time.Since(start), err)
		}
		c.send("next")
		c.want(``, "next", 0)
	})
}

func TestALongPollEndsWhenItsQueueIsDeleted(t *testing.T) {
	timed(t, func(t *testing.T, c *clocked) {
		go func() {
			time.Sleep(time.Second)
			c.do("DeleteQueue", `{`+inQ+`}`)
		}()
		start := time.Now()
		_, err := c.try(t.Context(), "ReceiveMessage", `{`+inQ+`,"WaitTimeSeconds":20}`)
		e := &wire.Error{}
		ok := errors.As(err, &e)
		if !ok || e.Code != "QueueDoesNotExist" || time.Since(start) != time.Second {
			t.Errorf("ended after %s with %v, want QueueDoesNotExist after 1s", time.Since(start), err)
		}
		if _, err := c.try(t.Context(), "CreateQueue", `{"QueueName":"q"}`); err == nil {
			t.Error("the name is free at once")
		}
		time.Sleep(time.Minute)
		c.do("CreateQueue", `{"QueueName":"q"}`)
	})
}

func TestAMessageComesBackAfterItsVisibilityTimeout(t *testing.T) {
	timed(t, func(_ *testing.T, c *clocked) {
		c.send("m")
		first := c.want(``, "m", 0)
		c.want(``, "", 0)
		time.Sleep(29 * time.Second)
		c.want(``, "", 0)
		second := c.want(`,"WaitTimeSeconds":20,"VisibilityTimeout":3`, "m", time.Second)
		c.do("DeleteMessage", `{`+inQ+`,"ReceiptHandle":"`+first+`"}`) // the handle of an earlier receive deletes nothing
		c.want(`,"WaitTimeSeconds":20,"VisibilityTimeout":3`, "m", 3*time.Second)
		time.Sleep(4 * time.Second)
		third := c.want(``, "m", 0)
		if second == third {
			c.t.Error("two receives gave the same handle")
		}
		c.do("DeleteMessage", `{`+inQ+`,"ReceiptHandle":"`+third+`"}`)
		c.want(`,"WaitTimeSeconds":20`, "", 20*time.Second)
		time.Sleep(time.Minute)
		c.want(``, "", 0)
	})
}

func TestAMessageCanBeDeletedAfterItsTimeout(t *testing.T) {
	timed(t, func(_ *testing.T, c *clocked) {
		c.send("m")
		handle := c.want(`,"VisibilityTimeout":1`, "m", 0)
		time.Sleep(2 * time.Second)
		c.do("DeleteMessage", `{`+inQ+`,"ReceiptHandle":"`+handle+`"}`)
		c.send("n")
		c.want(``, "n", 0)
		c.want(``, "", 0)
	})
}

func TestVisibilityCanBeChanged(t *testing.T) {
	timed(t, func(t *testing.T, c *clocked) {
		c.send("m")
		handle := c.want(``, "m", 0)
		change := func(handle string, seconds int) error {
			_, err := c.try(t.Context(), "ChangeMessageVisibility", fmt.Sprintf(`{%s,"ReceiptHandle":%q,"VisibilityTimeout":%d}`, inQ, handle, seconds))
			return err
		}
		go func() {
			time.Sleep(2 * time.Second)
			if err := change(handle, 0); err != nil {
				t.Error(err)
			}
		}()
		handle = c.want(`,"WaitTimeSeconds":20`, "m", 2*time.Second)
		if err := change(handle, 100); err != nil {
			t.Error(err)
		}
		time.Sleep(99 * time.Second)
		c.want(``, "", 0)
		c.want(`,"WaitTimeSeconds":20,"VisibilityTimeout":1`, "m", time.Second)
		time.Sleep(2 * time.Second)
		if err := change(handle, 5); err == nil {
			t.Error("a message that is not in flight can be hidden")
		}
	})
}

func TestADelayedMessageComesLater(t *testing.T) {
	timed(t, func(_ *testing.T, c *clocked) {
		c.do("SendMessage", `{`+inQ+`,"MessageBody":"late","DelaySeconds":7}`)
		c.want(`,"WaitTimeSeconds":20`, "late", 7*time.Second)
	})
}

func TestMessagesEndWithTheRetentionPeriod(t *testing.T) {
	timed(t, func(_ *testing.T, c *clocked) {
		c.do("SetQueueAttributes", `{`+inQ+`,"Attributes":{"MessageRetentionPeriod":"60"}}`)
		c.send("old")
		time.Sleep(30 * time.Second)
		c.send("new")
		time.Sleep(31 * time.Second)
		c.want(``, "new", 0)
		c.want(``, "", 0)
	})
}

func TestAPurgedQueueIsEmpty(t *testing.T) {
	timed(t, func(t *testing.T, c *clocked) {
		c.send("a")
		c.send("b")
		handle := c.want(``, "a", 0)
		c.do("PurgeQueue", `{`+inQ+`}`)
		c.do("DeleteMessage", `{`+inQ+`,"ReceiptHandle":"`+handle+`"}`)
		time.Sleep(31 * time.Second)
		c.want(``, "", 0)
		if _, err := c.try(t.Context(), "PurgeQueue", `{`+inQ+`}`); err == nil {
			t.Error("a second purge within a minute succeeded")
		}
		c.send("c")
		c.want(``, "c", 0)
	})
}

func TestWhatAServiceMayDeliver(t *testing.T) {
	timed(t, func(t *testing.T, c *clocked) {
		const topic, queue = "arn:aws:sns:us-east-1:111122223333:t", "arn:aws:sqs:us-east-1:111122223333:q"
		deliver := func(topic string) error {
			return c.s.Deliver(sqs.Delivery{QueueARN: queue, Service: "sns.amazonaws.com", SourceARN: topic, Body: "hint"})
		}
		if err := deliver(topic); !errors.Is(err, sqs.ErrDenied) {
			t.Errorf("without a policy: %v, want %v", err, sqs.ErrDenied)
		}
		policy, _ := json.Marshal(`{"Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"` + queue +
			`","Condition":{"ArnEquals":{"aws:SourceArn":"` + topic + `"}}}]}`)
		c.do("SetQueueAttributes", `{`+inQ+`,"Attributes":{"Policy":`+string(policy)+`}}`)
		if err := deliver(topic + "2"); !errors.Is(err, sqs.ErrDenied) {
			t.Errorf("from another topic: %v, want %v", err, sqs.ErrDenied)
		}
		if err := c.s.Deliver(sqs.Delivery{QueueARN: queue + "2", Service: "sns.amazonaws.com", SourceARN: topic, Body: "x"}); !errors.Is(err, sqs.ErrNoQueue) {
			t.Errorf("to no queue: %v, want %v", err, sqs.ErrNoQueue)
		}
		c.want(``, "", 0)
		if err := deliver(topic); err != nil {
			t.Errorf("from the topic: %v", err)
		}
		c.want(``, "hint", 0)
		if n := c.s.Dropped(); n != 3 {
			t.Errorf("%d deliveries dropped, want 3", n)
		}
	})
}

func TestTargetsOfRequests(t *testing.T) {
	c := newClocked(t)
	c.do("TagQueue", `{`+inQ+`,"Tags":{"owner":"i-1"}}`)
	for _, tt := range []struct {
		action, body, want string
	}{
		{"CreateQueue", `{"QueueName":"new","tags":{"owner":"i-2"}}`, "new false map[] map[owner:i-2]"},
		{"GetQueueUrl", `{"QueueName":"q"}`, "q true map[owner:i-1] map[]"},
		{"TagQueue", `{` + inQ + `,"Tags":{"owner":"i-3"}}`, "q true map[owner:i-1] map[owner:i-3]"},
		{"ReceiveMessage", `{"QueueUrl":"http://elsewhere/111122223333/gone"}`, "gone false map[] map[]"},
	} {
		target, ok := c.s.Target(wiretest.Request("sqs", "AmazonSQS."+tt.action, []byte(tt.body)))
		got := fmt.Sprintf("%s %v %v %v", target.Name, target.Exists, target.Tags, target.RequestTags)
		if !ok || got != tt.want {
			t.Errorf("%s = %s, want %s", tt.action, got, tt.want)
		}
	}
	if _, ok := c.s.Target(wiretest.Request("sqs", "AmazonSQS.ListQueues", []byte(`{}`))); ok {
		t.Error("ListQueues is about one queue")
	}
}
