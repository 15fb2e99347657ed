package metrics

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Text is the answer to a scrape.
func (m *Metrics) Text(t testing.TB) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.answer(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}
