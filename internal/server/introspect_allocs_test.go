package server_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/imidentity/issuer/internal/client"
)

// A discarded answer keeps its status alone.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) WriteHeader(status int)      { d.status = status }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }

// TestIntrospectAllocations holds what the handler allocates for a question about a token that was seen before. net/http takes
// some 20 allocations more for each request.
func TestIntrospectAllocations(t *testing.T) {
	const most = 18 // one more under the race detector than without
	h := newBench(t)
	var tokens client.Tokens
	h.post(t, "/token", h.proofs(t, newSigner(t), 1)[0], url.Values{"grant_type": {"client_credentials"}}, &tokens)
	form := []byte(url.Values{"token": {tokens.AccessToken}}.Encode())
	body := bytes.NewReader(form)
	r := httptest.NewRequest(http.MethodPost, "/introspect", io.NopCloser(body))
	r.ContentLength = int64(len(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("peer", benchSecret)
	answer := &discarded{header: http.Header{}}
	allocations := testing.AllocsPerRun(200, func() {
		body.Reset(form)
		clear(answer.header)
		if h.ServeHTTP(answer, r); answer.status != http.StatusOK {
			t.Fatalf("POST /introspect = %d, want 200", answer.status)
		}
	})
	if allocations > most {
		t.Errorf("%v allocations, want at most %d", allocations, most)
	}
}
