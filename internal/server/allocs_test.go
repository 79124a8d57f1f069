package server_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/imidentity/issuer/dpop"
)

// runs is how often a request is repeated to count its allocations.
const runs = 100

// The limits of these tests are those under the race detector, which adds a few.

// TestTokenAllocations holds what the handler allocates for a service's token, the cryptography included.
func TestTokenAllocations(t *testing.T) {
	const most = 148
	h := newBench(t)
	form := []byte(url.Values{"grant_type": {"client_credentials"}}.Encode())
	body := bytes.NewReader(nil)
	r := httptest.NewRequest(http.MethodPost, "/token", io.NopCloser(body))
	r.ContentLength = int64(len(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("peer", benchSecret)
	proofs := h.proofs(t, newSigner(t), runs+1)
	wantAllocations(t, h, r, most, func(i int) {
		body.Reset(form)
		r.Header["Dpop"] = proofs[i : i+1]
	})
}

// TestListAllocations holds what the handler allocates for a list of a user's own, with a proof and a token that was seen before.
func TestListAllocations(t *testing.T) {
	const most = 64
	h := newBench(t)
	signer := newSigner(t)
	access := h.login(t, signer, url.Values{"scope": {"im:handle im:device account"}, "resource": {h.issuer}}).AccessToken
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/nonce", nil))
	proofs := make([]string, runs+1)
	for i := range proofs {
		var err error
		proofs[i], err = signer.Proof(dpop.ProofParams{
			Method: http.MethodGet, URL: h.issuer + "/me/links", Nonce: answer.Header().Get("DPoP-Nonce"), AccessToken: access,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/me/links", nil)
	r.Header.Set("Authorization", "DPoP "+access)
	wantAllocations(t, h, r, most, func(i int) { r.Header["Dpop"] = proofs[i : i+1] })
}

// wantAllocations sends a request several times, each time after prepare, and checks how many allocations the handler makes.
func wantAllocations(t *testing.T, h http.Handler, r *http.Request, most float64, prepare func(i int)) {
	t.Helper()
	answer := &discarded{header: http.Header{}}
	i := 0
	allocations := testing.AllocsPerRun(runs, func() {
		prepare(i)
		i++
		clear(answer.header)
		if h.ServeHTTP(answer, r); answer.status != http.StatusOK {
			t.Fatalf("%s %s = %d, want 200", r.Method, r.URL.Path, answer.status)
		}
	})
	if allocations > most {
		t.Errorf("%s %s: %v allocations, want at most %v", r.Method, r.URL.Path, allocations, most)
	}
}
