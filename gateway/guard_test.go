package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
)

// TestGuard holds the middleware to its answers, with a client that makes proofs as its library does.
func TestGuard(t *testing.T) {
	w := newWorld(t)
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	var reports []gateway.Reason
	guard, err := gateway.NewGuard(gateway.GuardConfig{
		Verifier: w.Verifier, PublicURL: server.URL, Metadata: &dpop.ResourceMetadata{AuthorizationServers: []string{w.a.URL}},
		Report: func(_ *http.Request, d *gateway.Decision) { reports = append(reports, d.Reason) },
	})
	if err != nil {
		t.Fatal(err)
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, ok := gateway.FromContext(r.Context()); ok {
			fmt.Fprint(w, "Hello ", id.Handle)
			return
		}
		fmt.Fprint(w, "Hello")
	})
	for path, cfg := range map[string]gateway.PolicyConfig{
		"/users": {}, "/rooms": {Scopes: []string{"rooms"}}, "/watched": {Scopes: []string{"rooms"}, Shadow: true},
	} {
		protect, err := guard.Middleware(policy(t, cfg))
		if err != nil {
			t.Fatal(err)
		}
		mux.Handle(path, protect(hello))
	}
	mux.Handle(guard.Metadata())
	if _, err := guard.Middleware(policy(t, gateway.PolicyConfig{Mode: gateway.Introspect})); err == nil {
		t.Error("Middleware = nil, want an error for a policy that the verifier does not support")
	}

	client := &http.Client{Transport: &dpop.Transport{Signer: w.alice.Signer, Now: w.clock.now}}
	get := func(path, token string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequest("GET", server.URL+path+"?a=b", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "DPoP "+token)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer, string(body)
	}
	token := w.a.issue(t, w.alice)
	answer, body := get("/users", token)
	if answer.StatusCode != 200 || body != "Hello im:%40alice@a.example" || answer.Header.Get("DPoP-Nonce") == "" ||
		answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("GET = %s %q, %v", answer.Status, body, answer.Header)
	}
	answer, body = get("/rooms", token)
	if answer.StatusCode != 403 || !strings.Contains(body, `"error":"insufficient_scope"`) {
		t.Errorf("GET = %s %q, want 403", answer.Status, body)
	}
	if answer, body = get("/watched", token); answer.StatusCode != 200 || body != "Hello" {
		t.Errorf("GET = %s %q, want 200 without an identity", answer.Status, body)
	}
	answer, body = get("/users", w.b.issue(t, w.bob))
	if challenge := answer.Header.Values("WWW-Authenticate"); answer.StatusCode != 401 || len(challenge) != 1 ||
		!strings.Contains(challenge[0], `resource_metadata="`+server.URL+`/.well-known/oauth-protected-resource"`) {
		t.Errorf("GET = %s %q, %v, want 401 with a challenge", answer.Status, body, challenge)
	}
	if answer, body = get("/users", ""); answer.StatusCode != 401 || body != "" {
		t.Errorf("GET = %s %q, want 401 without an error", answer.Status, body)
	}
	w.a.change(func() { w.a.down = true })
	w.b.change(func() { w.b.down = true })
	answer, body = get("/users", w.b.issue(t, w.alice))
	if answer.StatusCode != 503 || answer.Header.Get("Retry-After") != "10" || answer.Header.Get("WWW-Authenticate") != "" ||
		!strings.Contains(body, `"error":"temporarily_unavailable"`) {
		t.Errorf("GET = %s %q, %v, want 503", answer.Status, body, answer.Header)
	}
	answer, body = get("/.well-known/oauth-protected-resource", "")
	var metadata map[string]any
	if err := json.Unmarshal([]byte(body), &metadata); err != nil || answer.StatusCode != 200 || metadata["resource"] != server.URL {
		t.Errorf("metadata = %s %q", answer.Status, body)
	}
	if len(reports) < 7 {
		t.Errorf("reports = %v, want one for each request", reports)
	}
}

// TestGuardOrigin holds that only a trusted proxy chooses among the public origins.
func TestGuardOrigin(t *testing.T) {
	w := newWorld(t)
	guard, err := gateway.NewGuard(gateway.GuardConfig{
		Verifier: w.Verifier, PublicURL: "https://chat.a.example/v1", PublicOrigins: []string{"https://chat.example"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")},
	})
	if err != nil {
		t.Fatal(err)
	}
	token := w.a.issue(t, w.alice)
	for name, test := range map[string]struct {
		from, host string
		url        string
		reason     gateway.Reason
	}{
		"no proxy":             {"192.0.2.9:1", "", "https://chat.a.example/v1/x", gateway.ReasonAllowed},
		"not a trusted proxy":  {"192.0.2.9:1", "chat.example", "https://chat.a.example/v1/x", gateway.ReasonAllowed},
		"not that origin":      {"192.0.2.9:1", "chat.example", "https://chat.example/v1/x", gateway.ReasonBadProof},
		"other origin":         {"192.0.2.1:1", "chat.example", "https://chat.example/v1/x", gateway.ReasonAllowed},
		"origin of a stranger": {"192.0.2.1:1", "evil.example", "https://evil.example/v1/x", gateway.ReasonOrigin},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/x", nil)
			r.Host, r.RemoteAddr = "evil.example", test.from
			if test.host != "" {
				r.Header.Set("X-Forwarded-Host", test.host)
			}
			proof, err := w.alice.Proof(dpop.ProofParams{Method: "GET", URL: test.url, Nonce: w.nonce(t), AccessToken: token, IssuedAt: w.clock.now()})
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "DPoP "+token)
			r.Header.Set("DPoP", proof)
			want(t, guard.Decide(r, nil), test.reason)
		})
	}
	if _, err := gateway.NewGuard(gateway.GuardConfig{PublicURL: "https://chat.a.example"}); err == nil {
		t.Error("NewGuard = nil, want an error without a verifier")
	}
	if _, err := gateway.NewGuard(gateway.GuardConfig{Verifier: w.Verifier, PublicURL: "chat.a.example"}); err == nil {
		t.Error("NewGuard = nil, want an error without a URL")
	}
}
