package lambda

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

const maxPayload = 6 << 20 // what AWS accepts in a synchronous invocation, both ways

// handler serves the Runtime API of one process.
func (e *environment) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", e.serveNext)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", e.serveResponse)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", e.serveError)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
	})
	return mux
}

// serveNext blocks until there is an invocation for this process, without a limit, as in AWS.
func (e *environment) serveNext(w http.ResponseWriter, r *http.Request) {
	if e.asked.Swap(true) {
		e.fn.ready(e) // the first request is awaited by whoever started the process
	}
	reply := make(chan *invocation, 1)
	select {
	case e.want <- reply:
	case <-r.Context().Done():
		return
	}
	select {
	case inv := <-reply:
		e.sendInvocation(w, inv)
	case <-r.Context().Done():
	}
}

func (e *environment) sendInvocation(w http.ResponseWriter, inv *invocation) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", e.fn.arn)
	h.Set("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Sampled=0")
	_, _ = io.Copy(w, bytes.NewReader(inv.payload)) // a process that died meanwhile is seen by wait
}

func (e *environment) serveResponse(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPayload+1))
	switch {
	case err != nil:
		return // the process died while it answered; wait settles the invocation
	case len(body) > maxPayload:
		e.settle(w, r, failure("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (6291556 bytes)."))
	case r.Trailer.Get("Lambda-Runtime-Function-Error-Type") != "":
		e.settle(w, r, failure(r.Trailer.Get("Lambda-Runtime-Function-Error-Type"), "the function failed while it was answering"))
	default:
		e.settle(w, r, Result{Payload: body})
	}
}

func (e *environment) serveError(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPayload))
	if err != nil {
		return
	}
	e.settle(w, r, Result{Payload: body, FunctionError: "Unhandled"})
}

func (e *environment) settle(w http.ResponseWriter, r *http.Request, result Result) {
	e.mu.Lock()
	inv := e.running
	if inv == nil || inv.id != r.PathValue("id") {
		e.mu.Unlock()
		http.Error(w, `{"errorType":"InvalidRequestID","errorMessage":"Invalid request ID"}`, http.StatusBadRequest)
		return
	}
	e.running = nil
	e.mu.Unlock()
	e.fn.answered(e)
	w.WriteHeader(http.StatusAccepted)
	inv.done <- result
}
