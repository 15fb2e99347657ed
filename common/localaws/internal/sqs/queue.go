package sqs

import (
	"container/heap"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/policy"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// maxInFlight is how many messages of one queue may be hidden by receives at a time.
const maxInFlight = 120_000

// queue is one queue. Service.mu guards it.
type queue struct {
	name, arn         string
	created, modified time.Time
	purged            time.Time
	settings          map[string]string // the attributes that were set; the rest have defaults
	policy            *policy.Policy
	tags              map[string]string
	visible           []*message // oldest first
	hidden            hiddenHeap // by the time at which they become visible
	byID              map[string]*message
	inFlight          int
	// changed is closed and replaced when a waiting receive should look again.
	changed chan struct{}
	waiting int // receives that wait for it
	gone    bool
}

// message is one message. It is in its queue's visible or hidden part until it is deleted.
type message struct {
	id, body, md5 string
	sender        string
	attributes    map[string]Attribute
	sent, first   time.Time
	visibleAt     time.Time
	receives      int
	inFlight      bool // hidden by a receive, not by a delay
	index         int  // in hidden, -1 while visible
	deleted       bool
}

func newQueue(name, arn string, now time.Time) *queue {
	return &queue{
		name: name, arn: arn, created: now, modified: now, settings: map[string]string{}, tags: map[string]string{},
		byID: map[string]*message{}, changed: make(chan struct{}),
	}
}

// wake makes every waiting receive look again.
func (q *queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

func (q *queue) add(m *message, delay time.Duration) {
	m.id, m.index = wire.NewUUID(), -1
	q.byID[m.id] = m
	if delay > 0 {
		q.hide(m, m.sent.Add(delay))
	} else {
		q.visible = append(q.visible, m)
	}
	q.wake()
}

func (q *queue) hide(m *message, until time.Time) {
	m.visibleAt = until
	heap.Push(&q.hidden, m)
}

// refresh shows the messages whose time has come, and forgets those that are older than the retention period.
func (q *queue) refresh(now time.Time) {
	for len(q.hidden) > 0 && !q.hidden[0].visibleAt.After(now) {
		q.show(heap.Pop(&q.hidden).(*message))
	}
	oldest := now.Add(-q.seconds("MessageRetentionPeriod"))
	for len(q.visible) > 0 && (q.visible[0].deleted || q.visible[0].sent.Before(oldest)) {
		q.forget(q.visible[0])
		q.visible = q.visible[1:]
	}
}

func (q *queue) show(m *message) {
	q.landed(m)
	q.visible = append(q.visible, m)
}

// landed ends a message's time in flight.
func (q *queue) landed(m *message) {
	if m.inFlight {
		m.inFlight = false
		q.inFlight--
	}
}

// take hides and returns the next message, nil if none is visible.
func (q *queue) take(now time.Time, timeout time.Duration) *message {
	q.refresh(now)
	for len(q.visible) > 0 {
		m := q.visible[0]
		q.visible[0], q.visible = nil, q.visible[1:]
		if m.deleted {
			continue
		}
		m.receives++
		if m.first.IsZero() {
			m.first = now
		}
		m.inFlight = true
		q.inFlight++
		q.hide(m, now.Add(timeout))
		return m
	}
	return nil
}

// forget removes a message for good; its place among the visible ones is passed over later.
func (q *queue) forget(m *message) {
	if m.index >= 0 {
		heap.Remove(&q.hidden, m.index)
	}
	q.landed(m)
	m.deleted = true
	delete(q.byID, m.id)
}

// clear removes all messages.
func (q *queue) clear() {
	q.visible, q.hidden, q.byID, q.inFlight = nil, nil, map[string]*message{}, 0
}

// counts tells how many messages are visible, in flight and delayed.
func (q *queue) counts(now time.Time) (visible, inFlight, delayed int) {
	q.refresh(now)
	return len(q.byID) - len(q.hidden), q.inFlight, len(q.hidden) - q.inFlight
}

// hiddenHeap orders messages by the time at which they become visible.
type hiddenHeap []*message

func (h hiddenHeap) Len() int           { return len(h) }
func (h hiddenHeap) Less(i, j int) bool { return h[i].visibleAt.Before(h[j].visibleAt) }

func (h hiddenHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *hiddenHeap) Push(x any) {
	m := x.(*message)
	m.index = len(*h)
	*h = append(*h, m)
}

// Pop is for container/heap.
func (h *hiddenHeap) Pop() any {
	last := len(*h) - 1
	m := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	m.index = -1
	return m
}
