package imds

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	ttlHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	maxTTL    = 21600 // six hours, in seconds
)

// sessions holds the tokens that are valid. The zero value is empty and ready.
type sessions struct {
	mu      sync.Mutex
	expires map[string]time.Time
}

func (s *sessions) create(ttl time.Duration, now time.Time) string {
	var raw [42]byte
	_, _ = rand.Read(raw[:]) // never fails
	token := base64.URLEncoding.EncodeToString(raw[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expires == nil {
		s.expires = map[string]time.Time{}
	}
	for t, end := range s.expires {
		if now.After(end) {
			delete(s.expires, t)
		}
	}
	s.expires[token] = now.Add(ttl)
	return token
}

func (s *sessions) valid(token string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.expires[token]
	return ok && now.Before(end)
}

// putToken starts a session. EC2 refuses requests that came through a proxy, so that none can be made to leak a token.
func (h *handler) putToken(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Forwarded-For") != "" {
		fail(w, http.StatusForbidden)
		return
	}
	seconds, err := strconv.Atoi(r.Header.Get(ttlHeader))
	if err != nil || seconds < 1 || seconds > maxTTL {
		fail(w, http.StatusBadRequest)
		return
	}
	token := h.tokens.create(time.Duration(seconds)*time.Second, time.Now())
	w.Header().Set(ttlHeader, strconv.Itoa(seconds))
	_, _ = w.Write([]byte(token))
}
