package contract_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/interop/contract"
)

const document = "../../../openapi.yaml"

// An answer is what the server behind the proxy says, whatever it is asked.
type answer struct {
	status int
	header map[string]string
	body   string
}

func with(header map[string]string, more ...string) map[string]string {
	all := maps.Clone(header)
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

var (
	plain   = map[string]string{"Cache-Control": "no-store", "DPoP-Nonce": "n", "X-Request-Id": "1"}
	json    = with(plain, "Content-Type", "application/json")
	inert   = `{"active":false}`
	refusal = answer{http.StatusBadRequest, json, `{"error":"invalid_request","error_description":"No."}`}
)

func TestContract(t *testing.T) {
	tests := []struct {
		name    string
		request string // method, path, body
		answer  answer
		want    string // part of the only violation; empty for none
	}{
		{"good", "POST /introspect token=x", answer{200, json, inert}, ""},
		{"unknown parameter", "POST /introspect token=x&more=y", answer{200, json, inert}, ""},
		{"good, no content", "POST /revoke token=x", answer{200, plain, ""}, ""},
		{"good, redirect", "GET /login/callback/idp?state=s&code=c", answer{303, with(plain, "Location", "http://127.0.0.1:1/cb?code=c&iss=i"), ""}, ""},
		{"good, page", "GET /authorize?client_id=x", answer{400, with(plain, "Content-Type", "text/html; charset=utf-8", "Content-Language", "en", "Vary", "Accept-Language", "Content-Security-Policy", "default-src 'none'"), "<p>"}, ""},
		{"good, key set", "GET /jwks", answer{200, map[string]string{"Cache-Control": "public, max-age=300", "ETag": `"x"`, "X-Request-Id": "1", "Content-Type": "application/jwk-set+json"},
			`{"keys":[{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"` + sha + `","x":"` + sha + `","y":"` + sha + `"}]}`}, ""},
		{"good, key set of the other algorithms", "GET /jwks", answer{200, map[string]string{"Cache-Control": "public, max-age=300", "ETag": `"x"`, "X-Request-Id": "1", "Content-Type": "application/jwk-set+json"},
			`{"keys":[{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"` + sha + `","x":"` + sha + `"},` +
				`{"kty":"RSA","use":"sig","alg":"RS256","kid":"` + sha + `","e":"AQAB","n":"` + strings.Repeat("A", 512) + `"}]}`}, ""},
		{"private RSA key published", "GET /jwks", answer{200, map[string]string{"Cache-Control": "public, max-age=300", "ETag": `"x"`, "X-Request-Id": "1", "Content-Type": "application/jwk-set+json"},
			`{"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":"` + sha + `","e":"AQAB","n":"` + strings.Repeat("A", 512) + `","d":"` + sha + `"}]}`}, "additional properties 'd' not allowed"},
		{"private key published", "GET /jwks", answer{200, map[string]string{"Cache-Control": "public, max-age=300", "ETag": `"x"`, "X-Request-Id": "1", "Content-Type": "application/jwk-set+json"},
			`{"keys":[{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"` + sha + `","x":"` + sha + `","y":"` + sha + `","d":"` + sha + `"}]}`}, "additional"},
		{"nonsense refused", "POST /introspect nonsense=x", refusal, ""},
		{"nonsense refused by redirect", "GET /authorize?client_id=x", answer{303, with(plain, "Location", "http://127.0.0.1:1/cb?error=invalid_request"), ""}, ""},
		{"nonsense accepted", "POST /introspect nonsense=x", answer{200, json, inert}, "token"},
		{"nonsense accepted by redirect", "GET /authorize?client_id=x&response_type=token", answer{303, with(plain, "Location", "http://127.0.0.1:1/login"), ""}, "response_type"},
		{"unknown path", "GET /nothing", answer{404, json, ""}, ""},
		{"unknown path served", "GET /nothing", answer{200, json, ""}, "no matching operation"},
		{"unknown method", "GET /token", answer{405, json, ""}, ""},
		{"unknown method served", "PUT /token", answer{200, json, ""}, "method not allowed"},
		{"preflight", "OPTIONS /token", answer{204, map[string]string{"Cache-Control": "no-store"}, ""}, ""},
		{"preflight with a nonce", "OPTIONS /token", answer{204, plain, ""}, "preflight"},
		{"known path not found", "POST /token grant_type=refresh_token", answer{404, json, ""}, "status is not supported"},
		{"unknown member", "POST /introspect token=x", answer{200, json, `{"active":false,"why":"revoked"}`}, "body doesn't match"},
		{"unknown error", "POST /introspect token=x", answer{400, json, `{"error":"oops","error_description":"No."}`}, "body doesn't match"},
		{"quotation mark in description", "POST /introspect token=x", answer{400, json, `{"error":"invalid_request","error_description":"\""}`}, "body doesn't match"},
		{"no nonce", "POST /revoke token=x", answer{200, map[string]string{"Cache-Control": "no-store", "X-Request-Id": "1"}, ""}, "without a DPoP-Nonce"},
		{"no request id", "POST /revoke token=x", answer{200, map[string]string{"Cache-Control": "no-store", "DPoP-Nonce": "n"}, ""}, "X-Request-Id"},
		{"stored", "POST /revoke token=x", answer{200, with(plain, "Cache-Control", "max-age=5"), ""}, "Cache-Control"},
		{"no challenge", "POST /revoke token=x", answer{401, json, `{"error":"invalid_client","error_description":"No."}`}, "WWW-Authenticate"},
		{"no token", "GET /me", answer{401, with(json, "WWW-Authenticate", "DPoP algs"), `{"error_description":"No."}`}, ""},
		{"no token, with another member", "GET /me", answer{401, with(json, "WWW-Authenticate", "DPoP algs"), `{"error_description":"No.","why":"x"}`}, "body doesn't match"},
		{"no token, no body", "GET /me", answer{401, with(plain, "WWW-Authenticate", "DPoP algs"), ""}, "Content-Type"},
		{"unavailable for how long", "POST /revoke token=x", answer{503, json, `{"error":"temporarily_unavailable","error_description":"Wait."}`}, "Retry-After"},
		{"content not described", "POST /revoke token=x", answer{200, json, "{}"}, "describes none"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := exchange(t, test.request, test.answer).Violations()
			switch {
			case test.want == "" && len(got) > 0:
				t.Errorf("Violations = %q, want none", got)
			case test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)):
				t.Errorf("Violations = %q, want one with %q", got, test.want)
			}
		})
	}
}

const sha = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"

func TestUnseen(t *testing.T) {
	const name = "POST /introspect"
	if got := exchange(t, "POST /introspect token=x", refusal).Unseen(); !slices.Contains(got, name) {
		t.Errorf("after a refusal Unseen = %q, want %q among them", got, name)
	}
	if got := exchange(t, "POST /introspect token=x", answer{200, json, inert}).Unseen(); slices.Contains(got, name) {
		t.Errorf("after an answer Unseen = %q, want %q not among them", got, name)
	}
}

// exchange sends one request through a contract to a server that gives one answer, and checks that both pass as they
// are.
func exchange(t *testing.T, request string, want answer) *contract.Contract {
	t.Helper()
	c, err := contract.Load(t.Context(), document)
	if err != nil {
		t.Fatal(err)
	}
	method, rest, _ := strings.Cut(request, " ")
	path, body, _ := strings.Cut(rest, " ")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || string(got) != body || r.Method != method || r.URL.RequestURI() != path {
			t.Errorf("server got %s %s %q, %v, want %s", r.Method, r.URL.RequestURI(), got, err, request)
		}
		for k, v := range want.header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(want.status)
		_, _ = io.WriteString(w, want.body)
	}))
	t.Cleanup(server.Close)
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(c.Proxy(target))
	t.Cleanup(proxy.Close)

	req, err := http.NewRequestWithContext(t.Context(), method, proxy.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want.status || string(got) != want.body {
		t.Errorf("client got %d %q, %v, want %d %q", resp.StatusCode, got, err, want.status, want.body)
	}
	return c
}
