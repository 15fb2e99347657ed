package metrics_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/metrics"
	"github.com/rotatessh/rotatessh/common/ledger"
)

func newMetrics(announced int64) *metrics.Metrics {
	return metrics.New(metrics.Options{Version: "v1", MaxAge: time.Hour, Announced: func() int64 { return announced }})
}

// values is what a scraper reads, by name and labels.
func values(t testing.TB, m *metrics.Metrics) map[string]float64 {
	t.Helper()
	return parse(t, strings.NewReader(m.Text(t)))
}

func parse(t testing.TB, text io.Reader) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for name, f := range families {
		for _, metric := range f.GetMetric() {
			key := name
			for _, l := range metric.GetLabel() {
				key += " " + l.GetName() + "=" + l.GetValue()
			}
			all[key] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return all
}

func mustBe(t testing.TB, got map[string]float64, want map[string]float64) {
	t.Helper()
	for name, value := range want {
		if v, ok := got[name]; !ok || v != value {
			t.Errorf("%s is %v (present: %v), want %v", name, v, ok, value)
		}
	}
}

func TestPassesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMetrics(9)
		time.Sleep(30 * time.Second)
		mustBe(t, values(t, m), map[string]float64{
			"rotatessh_agent_last_success_age_seconds": 30, "rotatessh_agent_healthy": 0, "rotatessh_agent_generation": 0,
			"rotatessh_agent_passes_total result=success": 0, "rotatessh_agent_passes_total result=failure": 0, "rotatessh_agent_applies_total": 0,
			"rotatessh_agent_info version=v1": 1,
		})
		m.Applied()
		m.Observe(keysync.Status{Generation: 7, Outcome: ledger.Applied, LastSuccess: time.Now()})
		time.Sleep(time.Minute)
		mustBe(t, values(t, m), map[string]float64{
			"rotatessh_agent_last_success_age_seconds": 60, "rotatessh_agent_healthy": 1, "rotatessh_agent_generation": 7,
			"rotatessh_agent_generation_lag": 2, "rotatessh_agent_passes_total result=success": 1, "rotatessh_agent_applies_total": 1,
		})
		time.Sleep(time.Hour)
		mustBe(t, values(t, m), map[string]float64{"rotatessh_agent_healthy": 0})
		m.Observe(keysync.Status{Generation: 10, Outcome: ledger.Applied, LastSuccess: time.Now()})
		mustBe(t, values(t, m), map[string]float64{"rotatessh_agent_healthy": 1, "rotatessh_agent_generation_lag": 0})
	})
}

func TestFailuresAreCountedByCode(t *testing.T) {
	m := newMetrics(0)
	unverified := []ledger.User{{Keys: []ledger.KeyStatus{{Accepted: ledger.Yes}, {Accepted: ledger.Unverified}}}}
	for _, s := range []keysync.Status{
		{Failures: 1, Code: "no-space"}, {Failures: 2, Code: "no-space"}, {Failures: 3, Outcome: ledger.Applied, Users: unverified},
		{Failures: 4, Outcome: ledger.Applied},
	} {
		m.Observe(s)
	}
	mustBe(t, values(t, m), map[string]float64{
		"rotatessh_agent_failures_total code=no-space": 2, "rotatessh_agent_failures_total code=unverified": 1,
		"rotatessh_agent_failures_total code=other": 1, "rotatessh_agent_passes_total result=failure": 4, "rotatessh_agent_healthy": 0,
	})
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serve serves until the test ends, or until stop, which waits for it.
func serve(t testing.TB, m *metrics.Metrics) (address string, stop func()) {
	t.Helper()
	address = freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Serve(ctx, address, zap.NewNop())
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	for range 1000 {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return address, stop
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("nobody listens")
	return "", nil
}

func TestScrape(t *testing.T) {
	address, stop := serve(t, newMetrics(0))
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	mustBe(t, parse(t, resp.Body), map[string]float64{"rotatessh_agent_generation": 0})
	if typ := resp.Header.Get("Content-Type"); typ != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("content type %q", typ)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/vars", "/"} {
		resp, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	stop()
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("somebody listens after the end")
	}
}

// A user who opens connections and says too little keeps scrapes waiting, but takes no more than the bound, and not for long.
func TestIdleConnectionsAreFewAndShort(t *testing.T) {
	address, _ := serve(t, newMetrics(0))
	const idle = 12
	before := openFiles(t)
	for range idle {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET /metrics HTTP/1.1\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(200 * time.Millisecond)
	if n := openFiles(t) - before - idle; n > 8 {
		t.Errorf("the server holds %d connections", n)
	}
	resp, err := (&http.Client{Timeout: time.Minute}).Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
