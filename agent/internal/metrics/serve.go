package metrics

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	"go.uber.org/zap"
)

const (
	// Any user of the machine can connect. None may keep the agent busy, or hold its descriptors.
	maxConnections = 8
	ioTimeout      = 5 * time.Second
	maxHeader      = 8 << 10
)

// Serve answers scrapes of /metrics at address until ctx ends. A port that cannot be had is logged: keys matter more than metrics.
func (m *Metrics) Serve(ctx context.Context, address string, log *zap.Logger) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		log.Error("metrics cannot be served", zap.Error(err))
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", m.answer)
	server := &http.Server{
		Handler: mux, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: zap.NewStdLog(zap.NewNop()), // what a stranger sends is no news
	}
	server.SetKeepAlivesEnabled(false) // one scrape a minute is not worth a connection that waits for it
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	log.Debug("metrics are served", zap.Stringer("address", listener.Addr()))
	if err := server.Serve(newLimited(listener)); !errors.Is(err, http.ErrServerClosed) {
		log.Error("metrics are served no longer", zap.Error(err))
	}
}

// answer writes the text format, which every version of Prometheus reads.
func (m *Metrics) answer(w http.ResponseWriter, _ *http.Request) {
	families, err := m.registry.Gather()
	var text bytes.Buffer
	for _, f := range families {
		if err == nil {
			_, err = expfmt.MetricFamilyToText(&text, f)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(text.Bytes()) // a scraper that has gone needs no answer
}

// limited is a listener that holds further connections back while there are maxConnections.
type limited struct {
	net.Listener
	free chan struct{}
}

func newLimited(l net.Listener) *limited {
	return &limited{l, make(chan struct{}, maxConnections)}
}

// Accept waits until there is room, and for a connection.
func (l *limited) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &counted{conn, sync.OnceFunc(func() { <-l.free })}, nil
}

// counted is a connection that makes room when it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
