package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
)

// below fills a path into the issuer's URL.
var below = map[string]string{"prefix": "/chat/id-1.0", "choose": "true"}

// TestPrefix holds that an issuer whose URL has a path does all its work below that.
func TestPrefix(t *testing.T) {
	s := start(t, below)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	if held.set.Issuer != s.issuer {
		t.Errorf("iss = %q, want %q", held.set.Issuer, s.issuer)
	}
	held = s.refreshed(t, d, held.refresh)
	s.wantActive(t, held.access)
	pushed := s.post(t, "/par", authorization(nil), nil)
	if pushed.status != http.StatusCreated {
		t.Fatalf("answer = %v, want 201", pushed)
	}
	back := s.signIn(t, "alice", url.Values{"request_uri": {pushed.text("request_uri")}})
	wantTokens(t, s.token(t, app, newDevice(t), codeForm(back.Get("code"), nil)))

	s.namesake(t, "dev-10099", "alice") // a page with a form
	v := s.visit(t, "alice", nil)
	page := s.open(t, v.browser, v.callback)
	state := handleForm(t, page, http.StatusConflict, "alice")
	if !strings.Contains(page.body, `action="/chat/id-1.0/login/handle"`) {
		t.Errorf("page = %v, want a form for below the prefix", page)
	}
	s.wantCode(t, s.choose(t, v.browser, state, "alice2"))

	if a := s.revoke(t, app, held.refresh); a.status != http.StatusOK {
		t.Errorf("answer = %v, want 200", a)
	}
	s.wantEnded(t, d, held)
}

// TestPrefixMetadata holds that the issuer is found by RFC 8414 §3.1, and below its URL too.
func TestPrefixMetadata(t *testing.T) {
	s := start(t, below)
	host := strings.TrimSuffix(s.issuer, below["prefix"])
	found, err := client.Discover(t.Context(), s.http, s.issuer)
	if err != nil || found.TokenEndpoint != s.issuer+"/token" || found.JWKSURI != s.issuer+"/jwks" {
		t.Errorf("Discover = %+v, %v, want endpoints below %s", found, err, s.issuer)
	}
	rfc := s.get(t, host+"/.well-known/oauth-authorization-server"+below["prefix"])
	own := s.get(t, "/.well-known/oauth-authorization-server")
	if rfc.status != http.StatusOK || own.body != rfc.body {
		t.Errorf("metadata = %v and %v, want the same in both places", rfc, own)
	}
}

// TestPrefixIsTheOnlyPlace holds that nothing is served elsewhere on the host, however the path is written, and that
// the answer to that carries what every answer does.
func TestPrefixIsTheOnlyPlace(t *testing.T) {
	s := start(t, below)
	host := strings.TrimSuffix(s.issuer, below["prefix"])
	for _, path := range []string{
		"/", "/jwks", "/token", "/chat", "/chat/id-1.0", "/chat/id-1.0//jwks", "//chat/id-1.0/jwks",
		"/chat/id-1.0x/jwks", "/chat/id-1.0/../jwks", "/CHAT/id-1.0/jwks", "/chat/id-1.0%2Fjwks", "/%63hat/id-1.0/jwks",
		"/chat%2Fid-1.0/jwks", "/chat/id-1.0/chat/id-1.0/jwks", "/.well-known/oauth-authorization-server",
		"/.well-known/oauth-authorization-server/", "/.well-known/oauth-authorization-server/chat",
		"/.well-known/oauth-authorization-server/chat/id-1.0/", "/.well-known/oauth-authorization-server%2Fchat/id-1.0",
		"/.well-known/x/../oauth-authorization-server/chat/id-1.0", "/.well-known/chat/id-1.0", "/.well-known//chat/id-1.0",
		"/.well-known/../jwks/chat/id-1.0", "/.well-known/jwks/chat/id-1.0",
	} {
		req := s.request(t, http.MethodGet, host, "")
		req.URL.Opaque = path // as it is
		wantError(t, s.send(t, s.http, req), http.StatusNotFound, "not_found")
	}
	wantPage(t, s.get(t, "/"), http.StatusOK)
	if a := s.get(t, "/jwks"); a.status != http.StatusOK {
		t.Errorf("answer = %v, want the keys", a)
	}
}

// TestPrefixOfProofs holds that a proof names the URL with its path.
func TestPrefixOfProofs(t *testing.T) {
	s := start(t, below)
	d := newDevice(t)
	for _, test := range []struct {
		url  string
		want int
	}{{s.issuer + "/token", http.StatusOK}, {strings.TrimSuffix(s.issuer, below["prefix"]) + "/token", http.StatusBadRequest}} {
		proof, err := d.Proof(dpop.ProofParams{Method: http.MethodPost, URL: test.url, Nonce: s.nonce(t), IssuedAt: s.clock.now()})
		if err != nil {
			t.Fatal(err)
		}
		form, header := url.Values{"grant_type": {"client_credentials"}}, http.Header{"Dpop": {proof}}
		peer.authenticate(form, header)
		if a := s.post(t, "/token", form, header); a.status != test.want {
			t.Errorf("proof for %s = %v, want %d", test.url, a, test.want)
		}
	}
}

// TestPrefixOfOwnResource holds the issuer, where it is a resource of its own, to the URL with its path.
func TestPrefixOfOwnResource(t *testing.T) {
	s := start(t, below)
	d := newDevice(t)
	own := s.forIssuer(t, d, s.account(t, d, "alice"), "account").access
	for _, test := range []struct {
		url  string
		want int
	}{{s.issuer + "/me/actors", http.StatusOK}, {strings.TrimSuffix(s.issuer, below["prefix"]) + "/me/actors", http.StatusUnauthorized}} {
		proof, err := d.Proof(dpop.ProofParams{
			Method: http.MethodGet, URL: test.url, Nonce: s.nonce(t), AccessToken: own, IssuedAt: s.clock.now(),
		})
		if err != nil {
			t.Fatal(err)
		}
		req := s.request(t, http.MethodGet, "/me/actors", "")
		req.Header.Set("Authorization", "DPoP "+own)
		req.Header.Set("DPoP", proof)
		if a := s.send(t, s.http, req); a.status != test.want {
			t.Errorf("proof for %s = %v, want %d", test.url, a, test.want)
		}
	}
}

// TestPrefixAcrossOrigins holds that pages of other origins may call below the path what they may call without one.
func TestPrefixAcrossOrigins(t *testing.T) {
	s := start(t, below)
	req := s.request(t, http.MethodOptions, "/token", "")
	req.Header.Set("Origin", "https://app.example.com")
	req.Header.Set("Access-Control-Request-Method", http.MethodPost)
	if a := s.send(t, s.http, req); a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("answer = %v with %v, want every origin to be allowed", a, a.header)
	}
}
