package main

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
)

// behaviour is what the front does with a call.
type behaviour func(w http.ResponseWriter, r *http.Request)

// front is AWS behind TLS, and behind trouble.
type front struct {
	*httptest.Server
	behave atomic.Pointer[behaviour]
	serve  behaviour
	open   atomic.Int64 // connections
}

// newFront starts one before the endpoint at address. The caller closes it.
func newFront(address string) (*front, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	f := &front{}
	f.serve = (&httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}).ServeHTTP
	f.turn(f.serve)
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*f.behave.Load())(w, r) }))
	f.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			f.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			f.open.Add(-1)
		}
	}
	f.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	f.StartTLS()
	return f, nil
}

// turn makes the front behave otherwise from the next call on.
func (f *front) turn(b behaviour) { f.behave.Store(&b) }

// writeBundle writes the certificate that a client has to trust.
func (f *front) writeBundle(name string) error {
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}), 0o600)
}

// drop closes the connection without an answer.
func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// sparing lets calls of the queue through: an agent whose queue has failed ever again asks for it only minutes later.
func (f *front) sparing(b behaviour) behaviour {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.") {
			f.serve(w, r)
			return
		}
		b(w, r)
	}
}

// hang gives no answer until it is over, or the client has gone. Before the body is read, the server would not notice that.
func hang(over <-chan struct{}) behaviour {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-over:
		}
		drop(w, r)
	}
}

// flood answers with far more than anybody can want: 256 MiB of one JSON string.
func flood(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_, err := w.Write([]byte(`{"SecretString":"`))
	for chunk, n := []byte(strings.Repeat("x", 1<<16)), 0; n < 256<<20 && err == nil; n += len(chunk) {
		_, err = w.Write(chunk)
	}
}
