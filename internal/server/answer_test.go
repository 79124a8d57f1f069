package server_test

import (
	"crypto/sha256"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
)

// TestEveryAnswer holds what every answer carries, also one to what is not there.
func TestEveryAnswer(t *testing.T) {
	s := start(t, nil)
	ids := make(map[string]bool)
	for _, test := range []struct {
		method, path string
		status       int
		cached       bool
	}{
		{"GET", "/.well-known/oauth-authorization-server", 200, true},
		{"GET", "/.well-known/im-issuer?domain=example.com", 200, true},
		{"GET", "/.well-known/im-issuer?domain=other.example", 404, false},
		{"HEAD", "/.well-known/oauth-authorization-server", 200, true},
		{"GET", "/jwks", 200, true},
		{"HEAD", "/jwks", 200, true},
		{"GET", "/authorize", 400, false},
		{"POST", "/authorize", 400, false},
		{"PUT", "/authorize", 405, false},
		{"GET", "/login/callback/dev", 400, false},
		{"POST", "/login/callback/dev", 405, false},
		{"POST", "/token", 400, false},
		{"GET", "/token", 405, false},
		{"DELETE", "/token", 405, false},
		{"OPTIONS", "/token", 204, false},
		{"POST", "/introspect", 400, false},
		{"GET", "/introspect", 405, false},
		{"POST", "/revoke", 400, false},
		{"GET", "/revoke", 405, false},
		{"GET", "/nonce", 204, false},
		{"HEAD", "/nonce", 204, false},
		{"POST", "/nonce", 405, false},
		{"GET", "/healthz", 200, false},
		{"GET", "/readyz", 200, false},
		{"GET", "/", 200, false},
		{"GET", "/nothing", 404, false},
		{"POST", "/nothing", 404, false},
		{"GET", "/token/", 404, false},
		{"GET", "/TOKEN", 404, false},
		{"GET", "/login/callback/", 404, false},
		{"GET", "/login/handle", 405, false},
		{"POST", "/login/handle", 400, false},
		{"GET", "/admin/clients", 404, false},
		{"GET", "//jwks", 404, false},
		{"GET", "/%6Awks", 404, false},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			a := s.send(t, s.http, s.request(t, test.method, test.path, ""))
			if a.status != test.status {
				t.Fatalf("answer = %v, want %d", a, test.status)
			}
			id := a.header.Get("X-Request-Id")
			if id == "" || ids[id] {
				t.Errorf("X-Request-Id = %q, want one of its own", id)
			}
			ids[id] = true
			if a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("X-Content-Type-Options = %q, Referrer-Policy = %q", a.header.Get("X-Content-Type-Options"), a.header.Get("Referrer-Policy"))
			}
			nonces, control := a.header.Values("DPoP-Nonce"), a.header.Get("Cache-Control")
			if test.cached && (len(nonces) != 0 || !strings.HasPrefix(control, "public, max-age=")) {
				t.Errorf("cacheable answer with DPoP-Nonce %q, Cache-Control %q", nonces, control)
			} else if test.method == http.MethodOptions && len(nonces) != 0 {
				t.Errorf("answer to OPTIONS with DPoP-Nonce %q, want none", nonces)
			} else if !test.cached && test.method != http.MethodOptions && (len(nonces) != 1 || control != "no-store") {
				t.Errorf("answer with DPoP-Nonce %q, Cache-Control %q; want one and no-store", nonces, control)
			}
			if (a.status == http.StatusMethodNotAllowed || test.method == http.MethodOptions) && a.header.Get("Allow") == "" {
				t.Error("no Allow (RFC 9110 §15.5.6)")
			}
			if a.status >= 400 && !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") && (a.text("error") == "" || a.text("error_description") == "") {
				t.Errorf("answer = %v, want an OAuth error", a)
			}
		})
	}
}

func TestAllow(t *testing.T) {
	s := start(t, nil)
	for path, want := range map[string]string{"/token": "POST", "/introspect": "POST", "/revoke": "POST"} {
		if allow := s.get(t, path).header.Get("Allow"); !slices.Contains(strings.Split(allow, ", "), want) || strings.Contains(allow, "GET") {
			t.Errorf("Allow of %s = %q, want %s", path, allow, want)
		}
	}
}

// TestKeys holds what the keys that check tokens look like, and that asking again is cheap.
func TestKeys(t *testing.T) {
	s := start(t, nil)
	a := s.get(t, "/jwks")
	keys, _ := a.json["keys"].([]any)
	if a.header.Get("Content-Type") != "application/jwk-set+json" || len(keys) != 1 {
		t.Fatalf("answer = %v as %q, want one key", a, a.header.Get("Content-Type"))
	}
	jwk := keys[0].(object)
	key, err := jose.ParseJWK(encode(jwk)) // no private member
	if err != nil || jwk["kid"] != key.JKT || jwk["alg"] != "ES256" || jwk["use"] != "sig" {
		t.Errorf("key %v, %v; want a public ES256 key by its thumbprint", jwk, err)
	}
	token, err := jose.ParseCompact(s.login(t, newDevice(t), "alice").access, jose.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if token.Header.Typ != "at+jwt" || token.Header.Kid != key.JKT || token.Verify("ES256", key.Public) != nil {
		t.Errorf("access token with header %+v does not verify with the published key", token.Header)
	}
	etag := a.header.Get("ETag")
	for value, status := range map[string]int{
		etag: 304, "*": 304, `"other"`: 200, `"other", ` + etag: 304, "W/" + etag: 304, "": 200,
	} {
		req := s.request(t, http.MethodGet, "/jwks", "")
		if value != "" {
			req.Header.Set("If-None-Match", value)
		}
		if a := s.send(t, s.http, req); a.status != status || a.header.Get("ETag") != etag || (status == 304 && a.body != "") {
			t.Errorf("If-None-Match: %s = %v with ETag %q, want %d with %q", value, a, a.header.Get("ETag"), status, etag)
		}
	}
}

// TestMetadata holds the issuer's description of itself to RFC 8414 §2, and to what it serves.
func TestMetadata(t *testing.T) {
	s := start(t, nil)
	a := s.get(t, "/.well-known/oauth-authorization-server")
	list := func(values ...any) []any { return values }
	for name, want := range map[string]any{
		"issuer":                           s.issuer,
		"authorization_endpoint":           s.issuer + "/authorize",
		"token_endpoint":                   s.issuer + "/token",
		"device_authorization_endpoint":    s.issuer + "/device_authorization",
		"introspection_endpoint":           s.issuer + "/introspect",
		"revocation_endpoint":              s.issuer + "/revoke",
		"jwks_uri":                         s.issuer + "/jwks",
		"response_types_supported":         list("code"),
		"response_modes_supported":         list("query"),
		"code_challenge_methods_supported": list("S256"),
		"grant_types_supported":            list("authorization_code", "refresh_token", "client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:embedded-tokens", "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:device_code"),
		"identity_chaining_requested_token_types_supported": list("urn:ietf:params:oauth:token-type:jwt"),
		"scopes_supported":                                         list("im:handle", "im:device", "account", "introspect", "introspect:domain", "introspect:reason", "feed", "im:credential"),
		"dpop_signing_alg_values_supported":                        list("ES256", "EdDSA", "Ed25519", "ES384"),
		"token_endpoint_auth_methods_supported":                    list("none", "client_secret_basic", "client_secret_post", "private_key_jwt"),
		"revocation_endpoint_auth_methods_supported":               list("none", "client_secret_basic", "client_secret_post", "private_key_jwt"),
		"introspection_endpoint_auth_methods_supported":            list("client_secret_basic", "client_secret_post", "private_key_jwt"),
		"authorization_response_iss_parameter_supported":           true,
		"im_requested_token_types_supported":                       list("urn:ietf:params:oauth:token-type:access_token", "tag:imidentity.github.io,2026:cwt"),
		"token_endpoint_auth_signing_alg_values_supported":         list("ES256", "EdDSA", "Ed25519", "RS256"),
		"revocation_endpoint_auth_signing_alg_values_supported":    list("ES256", "EdDSA", "Ed25519", "RS256"),
		"introspection_endpoint_auth_signing_alg_values_supported": list("ES256", "EdDSA", "Ed25519", "RS256"),
	} {
		if got, want := string(encode(a.json[name])), string(encode(want)); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	domains, _ := a.json["im_domains_supported"].([]any)
	if !slices.Contains(domains, any("example.com")) || !slices.Contains(domains, any("example.org")) {
		t.Errorf("im_domains_supported = %v, want example.com and example.org among them", domains)
	}
	for _, endpoint := range []string{"authorization_endpoint", "token_endpoint", "introspection_endpoint", "revocation_endpoint", "jwks_uri"} {
		if at := s.get(t, a.text(endpoint)); at.status == http.StatusNotFound {
			t.Errorf("%s %s answers 404", endpoint, a.text(endpoint))
		}
	}
}

// TestFreshSecrets holds that nothing that must be unguessable comes twice.
func TestFreshSecrets(t *testing.T) {
	s := start(t, nil)
	seen := make(map[[32]byte]string)
	for range 3 {
		d := newDevice(t)
		v := s.visit(t, "alice", nil)
		cookie := v.browser.Client().Jar.Cookies(v.callback)[0]
		code := func() string {
			to, err := url.Parse(s.open(t, v.browser, v.callback).header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			return to.Query().Get("code")
		}()
		held := wantTokens(t, s.token(t, app, d, codeForm(code, nil)))
		again := s.refreshed(t, d, held.refresh)
		for kind, value := range map[string]string{
			"state": v.callback.Query().Get("state"), "cookie": cookie.Value, "cookie name": cookie.Name, "code": code,
			"refresh token": held.refresh, "next refresh token": again.refresh, "jti": held.set.JTI, "next jti": again.set.JTI,
			"sid": held.set.SID, "device": held.set.Device,
		} {
			sum := sha256.Sum256([]byte(value))
			if other, ok := seen[sum]; ok || value == "" {
				t.Errorf("%s %q was a %s before, want a fresh one", kind, value, other)
			}
			seen[sum] = kind
		}
	}
}
