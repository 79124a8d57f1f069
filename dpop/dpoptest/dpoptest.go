// Package dpoptest holds an HTTP endpoint that demands DPoP proofs to RFC 9449, from the outside: [Run] sends it proofs
// with one thing changed in each and looks at status, error code and headers. It knows nothing of how the endpoint is
// made, so that it serves for authorization servers and protected resources alike.
package dpoptest

import (
	"crypto/ecdsa"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// An Endpoint is what [Run] sends requests to.
type Endpoint struct {
	// Method and URL are those of the endpoint as clients know it, without query and fragment. Requests need not go
	// to that URL.
	Method, URL string
	// Request returns a new request that lacks nothing but its proof. What may be used only once (a code) needs to be
	// made anew only after it was answered with success: a refusal uses nothing up.
	Request func(t *testing.T) *http.Request
	// Key is the P-256 key that the request is bound to.
	Key *ecdsa.PrivateKey
	// AccessToken is the one that comes with the request, in its Authorization header; empty at endpoints without.
	AccessToken string
	// Optional tells that a request without a proof is accepted, too.
	Optional bool
	// Nonces tells whether the endpoint requires them.
	Nonces bool
	// Refused is the status of a refusal: 400 at an authorization server, 401 at a resource.
	Refused int
	// OtherKey is the error code for a good proof by another key; empty where the request is not bound to one.
	OtherKey string
	// Client sends the requests. Nil means [http.DefaultClient].
	Client *http.Client
	// Now reports the time by the clock of the endpoint. Nil means [time.Now].
	Now func() time.Time
}

const (
	accepted   = ""
	badProof   = "invalid_dpop_proof"
	badToken   = "invalid_token"
	needsNonce = "use_dpop_nonce"
)

// A run is an Endpoint and the newest nonce that it gave out.
type run struct {
	Endpoint
	nonce string
}

// Run runs the suite.
func Run(t *testing.T, endpoint Endpoint) {
	e := &run{Endpoint: endpoint}
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Client == nil {
		e.Client = http.DefaultClient
	}
	for _, c := range e.cases() {
		t.Run(c.name, func(t *testing.T) {
			a := e.attempt(t)
			c.edit(a)
			e.want(t, a, c.want)
			if c.want != accepted { // what was refused costs nothing
				e.want(t, e.attempt(t), accepted)
			}
		})
	}
	t.Run("same proof twice", func(t *testing.T) {
		a := e.attempt(t)
		text := a.sign(t)
		a.text = func(string) string { return text }
		e.want(t, a, accepted)
		e.want(t, a, badProof)
		e.want(t, e.attempt(t), accepted)
	})
	t.Run("same jti twice", func(t *testing.T) {
		first, second := e.attempt(t), e.attempt(t)
		second.claims["jti"] = first.claims["jti"]
		e.want(t, first, accepted)
		e.want(t, second, badProof)
	})
	if e.Nonces {
		t.Run("retry with the nonce of the refusal", func(t *testing.T) {
			a := e.attempt(t)
			delete(a.claims, "nonce")
			a.claims["iat"] = e.Now().Add(-time.Hour).Unix()
			e.want(t, a, needsNonce)
			a.claims["nonce"] = e.nonce
			e.want(t, a, accepted)
		})
	}
}

// want sends a and checks the answer: accepted, or refused with that error code.
func (e *run) want(t *testing.T, a *attempt, code string) {
	t.Helper()
	status, got, header := e.send(t, a)
	switch {
	case code == accepted && (status < 200 || status > 299):
		t.Errorf("answer = %d %s %q, want 2xx", status, got, header.Values("WWW-Authenticate"))
	case code != accepted && (status != e.Refused || got != code):
		t.Errorf("answer = %d %q, want %d %q", status, got, e.Refused, code)
	}
	challenge := header.Get("WWW-Authenticate")
	if e.Refused == http.StatusUnauthorized && code != accepted &&
		(!strings.HasPrefix(challenge, "DPoP ") || !strings.Contains(challenge, `algs="`)) {
		t.Errorf("WWW-Authenticate = %q, want the scheme DPoP and algs (RFC 9449 section 7.1)", challenge)
	}
}

// wantNonce checks the nonce of an answer and keeps it (RFC 9449 section 8.1 and 8.2).
func (e *run) wantNonce(t *testing.T, header http.Header) {
	t.Helper()
	nonces := header.Values("DPoP-Nonce")
	if !e.Nonces {
		if len(nonces) != 0 {
			t.Errorf("DPoP-Nonce = %q, want none", nonces)
		}
		return
	}
	if len(nonces) != 1 || nonces[0] == "" || !strings.Contains(header.Get("Cache-Control"), "no-store") {
		t.Fatalf("DPoP-Nonce = %q with Cache-Control %q, want one and no-store", nonces, header.Get("Cache-Control"))
	}
	for _, c := range []byte(nonces[0]) {
		if c < 0x21 || c == 0x22 || c == 0x5c || c > 0x7e {
			t.Errorf("DPoP-Nonce = %q, which contains the byte %#x", nonces[0], c)
		}
	}
	e.nonce = nonces[0]
}

// send sends a, checks the nonce of the answer, and returns status, error code and headers of the answer.
func (e *run) send(t *testing.T, a *attempt) (status int, code string, header http.Header) {
	t.Helper()
	r := e.Request(t)
	if a.query != "" {
		r.URL.RawQuery = a.query
	}
	r.Header[a.field] = append(r.Header[a.field], a.proofs(t)...)
	if a.scheme != "" {
		r.Header.Set("Authorization", a.scheme+" "+e.AccessToken)
	}
	answer, err := e.Client.Do(r)
	if err != nil {
		t.Fatalf("%s %s = %v", r.Method, r.URL, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	e.wantNonce(t, answer.Header)
	var refusal struct {
		Error string `json:"error"`
	}
	if answer.StatusCode >= 300 {
		_ = json.Unmarshal(body, &refusal) // a resource need not have a body
	}
	if challenge := answer.Header.Get("WWW-Authenticate"); strings.Contains(challenge, `error="`) {
		_, after, _ := strings.Cut(challenge, `error="`)
		refusal.Error, _, _ = strings.Cut(after, `"`)
	}
	return answer.StatusCode, refusal.Error, answer.Header
}
