package server_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync"
	"testing"
)

// Requests at the same time have different ids.
func TestRequestIDsDiffer(t *testing.T) {
	h := newBench(t)
	form := regexp.MustCompile(`^[A-Za-z0-9_-]{12}$`)
	var seen sync.Map
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/nonce", nil))
				id := w.Header().Get("X-Request-Id")
				if _, twice := seen.LoadOrStore(id, true); twice || !form.MatchString(id) {
					t.Errorf("X-Request-Id = %q, want a new id of 12 characters", id)
				}
			}
		})
	}
	group.Wait()
}
