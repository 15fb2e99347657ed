// Package metrics shows how the agent is doing to Prometheus, on a loopback port. It reads nothing but what it is told, and costs
// nothing while nobody asks.
package metrics

import (
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/common/ledger"
)

// Codes of failures that keysync has none for.
const (
	codeUnverified = "unverified" // the files are right, but sshd has not said so
	codeOther      = "other"      // for example, the acknowledgement could not be written
)

// Options say what New cannot find out.
type Options struct {
	Version   string
	MaxAge    time.Duration // a last success that is older is not healthy
	Announced func() int64  // the generation that the beacon announced last; 0 if none
}

// Metrics counts. Its methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	applies  prometheus.Counter
	passes   *prometheus.CounterVec
	failures *prometheus.CounterVec

	mu      sync.Mutex
	options Options
	started time.Time
	status  keysync.Status
}

// New makes the metrics, all of them zero.
func New(o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), options: o, started: time.Now()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "rotatessh_agent", Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string, f func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	m.applies = counter("applies_total", "Files rewritten.").WithLabelValues()
	m.passes = counter("passes_total", "Passes, by whether everything was right in the end.", "result")
	m.failures = counter("failures_total", "Passes that failed, by the code that status shows, or unverified, or other.", "code")
	for _, result := range []string{"success", "failure"} {
		m.passes.WithLabelValues(result)
	}
	gauge("rotatessh_agent_last_success_age_seconds", "Time since the last pass without a fault, or since the start while there was none.", m.age)
	gauge("rotatessh_agent_healthy", "1 while the last pass succeeded and is not too long ago, as in status.", m.healthy)
	gauge("rotatessh_agent_generation", "Generation of the keyset in force; 0 before the first one.", m.generation)
	gauge("rotatessh_agent_generation_lag", "How far the generation that the beacon announced is ahead of the one in force.", m.lag)
	gauge("go_goroutines", "Number of goroutines.", func() float64 { return float64(runtime.NumGoroutine()) })
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "rotatessh_agent_info", Help: "Always 1; the labels say more.",
		ConstLabels: prometheus.Labels{"version": o.Version}}, func() float64 { return 1 }))
	return m
}

// Applied counts a file that was rewritten.
func (m *Metrics) Applied() { m.applies.Inc() }

// Observe takes the result of a pass in.
func (m *Metrics) Observe(s keysync.Status) {
	m.mu.Lock()
	m.status = s
	m.mu.Unlock()
	if s.Failures == 0 {
		m.passes.WithLabelValues("success").Inc()
		return
	}
	m.passes.WithLabelValues("failure").Inc()
	m.failures.WithLabelValues(code(s)).Inc()
}

// code says in a word why the last pass failed. Codes are few and fixed, as labels have to be.
func code(s keysync.Status) string {
	if s.Code != "" {
		return s.Code
	}
	for _, u := range s.Users {
		for _, k := range u.Keys {
			if k.Accepted == ledger.Unverified {
				return codeUnverified
			}
		}
	}
	return codeOther
}

func (m *Metrics) snapshot() keysync.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status
}

func (m *Metrics) age() float64 {
	last := m.snapshot().LastSuccess
	if last.IsZero() {
		last = m.started
	}
	return time.Since(last).Seconds()
}

func (m *Metrics) healthy() float64 {
	if m.snapshot().Healthy(time.Now(), m.options.MaxAge) {
		return 1
	}
	return 0
}

func (m *Metrics) generation() float64 { return float64(m.snapshot().Generation) }

func (m *Metrics) lag() float64 {
	return float64(max(m.options.Announced()-m.snapshot().Generation, 0))
}
