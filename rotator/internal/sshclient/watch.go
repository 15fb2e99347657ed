package sshclient

import (
	"context"
	"fmt"
	"hash"
	"io"
	"time"
)

// feed reads a local file for an upload: hashing, reporting, and ending with the context.
type feed struct {
	ctx   context.Context
	watch *watch
	from  io.Reader
	sum   hash.Hash
	sent  int64
	tell  func(sent int64)
}

func (f *feed) Read(p []byte) (int, error) {
	if f.ctx.Err() != nil {
		return 0, context.Cause(f.ctx)
	}
	n, err := f.from.Read(p)
	f.sum.Write(p[:n])
	f.sent += int64(n)
	f.watch.progress()
	f.tell(f.sent)
	return n, err
}

// sink hashes what is read back from the server.
type sink struct {
	ctx   context.Context
	watch *watch
	sum   hash.Hash
	back  int64
	tell  func(back int64)
}

func (s *sink) Write(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	s.watch.progress()
	s.back += int64(len(p))
	s.tell(s.back)
	return s.sum.Write(p)
}

// watch acts when a transfer has not moved for a while. Keepalive requests do not see that: the server
// process answers them even while the one that writes files hangs.
type watch struct {
	limit time.Duration
	timer *time.Timer
}

func newWatch(limit time.Duration, act func(error)) *watch {
	return &watch{limit: limit, timer: time.AfterFunc(limit, func() { act(fmt.Errorf("no progress for %v", limit)) })}
}

func (w *watch) progress() { w.timer.Reset(w.limit) }

func (w *watch) stop() { w.timer.Stop() }
