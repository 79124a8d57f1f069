package interop_test

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const authorize = "client_id=im-app&redirect_uri=http%3A%2F%2F127.0.0.1%3A49152%2Fcallback&response_type=code" +
	"&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"

// requests sends what the clients have no use for, nonsense above all. Here only the status is looked at: that the
// answers are as described is for the contract, which they pass on their way.
func requests(t *testing.T, ctx context.Context, issuer string) {
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	headers := func(pairs ...string) http.Header {
		h := form.Clone()
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	basic := func(id, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
	}
	peer := basic("peer", peerSecret)
	tests := []struct {
		name    string
		request string // method and path
		header  http.Header
		body    string
		want    int
	}{
		{"alive", "GET /healthz", nil, "", 200},
		{"ready", "GET /readyz", nil, "", 200},
		{"nonce", "GET /nonce", nil, "", 204},
		{"keys", "GET /jwks", nil, "", 200},
		{"issuers of a domain", "GET /.well-known/im-issuer?domain=example.com", nil, "", 200},
		{"issuers of no domain", "GET /.well-known/im-issuer?domain=other.example", nil, "", 404},
		{"no such path", "GET /nothing", nil, "", 404},
		{"no such method", "GET /token", nil, "", 405},

		{"authorize by form", "POST /authorize", form, authorize + "&state=s&resource=im:example.com&im_device_name=K%C3%BCche&max_age=0&unknown=x", 303},
		{"authorize, told to the client", "GET /authorize?" + authorize + "&scope=admin", nil, "", 303},
		{"authorize by nobody", "GET /authorize?client_id=nobody", nil, "", 400},
		{"authorize for elsewhere", "GET /authorize?client_id=im-app&redirect_uri=https://elsewhere.example", nil, "", 400},
		{"authorize twice", "GET /authorize?" + authorize + "&client_id=im-app", nil, "", 400},
		{"authorize at length", "POST /authorize", form, authorize + "&state=" + strings.Repeat("x", 70<<10), 413},
		{"push", "POST /par", form, authorize + "&state=s", 201},
		{"push without PKCE", "POST /par", form, "client_id=im-app&response_type=code&redirect_uri=http://127.0.0.1:1/callback", 400},
		{"push by nobody", "POST /par", form, authorize + "&client_secret=x", 401},
		{"device without a browser", "POST /device_authorization", form, "client_id=tv&im_device_name=TV&im_device_platform=tv&unknown=x", 200},
		{"device with another scope", "POST /device_authorization", form, "client_id=tv&scope=admin", 400},
		{"page for devices, of nobody", "GET /device?user_code=BBBB-BBBB", nil, "", 200},
		{"decision about a device, of nobody", "POST /device/decide", form, "user_code=BBBB-BBBB&decision=allow", 200},
		{"end of a decision, of nobody", "GET /device/done", nil, "", 200},
		{"device of nobody", "POST /device_authorization", form, "client_id=nobody", 401},
		{"device at length", "POST /device_authorization", form, "client_id=tv&scope=" + strings.Repeat("x", 70<<10), 413},
		{"callback of no login", "GET /login/callback/" + provider + "?state=x&code=y", nil, "", 400},
		{"account of nobody", "GET /account", nil, "", 200},
		{"sign out of nobody", "POST /account/sign-out", form, "csrf=x", 303},
		{"page of nobody's account", "GET /account/devices/x", nil, "", 200},
		{"form of nobody's account", "POST /account/devices/x", form, "csrf=x", 200},
		{"page of nobody's account", "GET /account/devices/x/remove", nil, "", 200},
		{"form of nobody's account", "POST /account/devices/x/remove", form, "csrf=x", 200},
		{"page of nobody's account", "GET /account/remove-devices", nil, "", 200},
		{"form of nobody's account", "POST /account/remove-devices", form, "csrf=x", 200},
		{"page of nobody's account", "GET /account/actors/x/withdraw", nil, "", 200},
		{"form of nobody's account", "POST /account/actors/x/withdraw", form, "csrf=x", 200},
		{"page of nobody's account", "GET /account/delegations/x/withdraw", nil, "", 200},
		{"form of nobody's account", "POST /account/delegations/x/withdraw", form, "csrf=x", 200},
		{"page of nobody's account", "GET /account/links/x/withdraw", nil, "", 200},
		{"form of nobody's account", "POST /account/links/x/withdraw", form, "csrf=x", 200},
		{"page of nobody's account", "GET /account/privacy", nil, "", 200},
		{"form of nobody's account", "POST /account/privacy", form, "csrf=x", 200},
		{"page of nobody's account", "GET /account/other-browsers", nil, "", 200},
		{"form of nobody's account", "POST /account/other-browsers", form, "csrf=x", 200},
		{"page of nobody's account", "GET /account/leave", nil, "", 200},
		{"form of nobody's account", "POST /account/leave", form, "csrf=x", 200},
		{"page of nobody's account", "GET /account/name", nil, "", 200},
		{"form of nobody's account", "POST /account/name", form, "csrf=x", 200},
		{"page of nobody's account", "GET /account/sessions/x/end", nil, "", 200},
		{"form of nobody's account", "POST /account/sessions/x/end", form, "csrf=x", 200},
		{"page of nobody's account", "GET /account/credentials/x/end", nil, "", 200},
		{"form of nobody's account", "POST /account/credentials/x/end", form, "csrf=x", 200},
		{"page of nobody's account", "GET /account/export", nil, "", 200},
		{"form of nobody's account", "POST /account/export", form, "csrf=x", 200},
		{"signed out", "GET /account/signed-out?to=/account&because=cancelled", nil, "", 200},
		{"signed out at length", "GET /account/signed-out?to=" + strings.Repeat("x", 9<<10), nil, "", 413},
		{"callback of no provider", "GET /login/callback/x?state=x&code=y", nil, "", 400},

		{"token without a grant type", "POST /token", form, "client_id=im-app", 400},
		{"token for a password", "POST /token", form, "grant_type=password&client_id=im-app", 400},
		{"token without a proof", "POST /token", headers("Authorization", peer), "grant_type=client_credentials", 400},
		{"token with no proof in the header", "POST /token", headers("Authorization", peer, "DPoP", ""), "grant_type=client_credentials", 400},
		{"token with two proofs", "POST /token", headers("Authorization", peer, "DPoP", "a.b.c", "DPoP", "a.b.c"), "grant_type=client_credentials", 400},
		{"token with a wrong secret", "POST /token", headers("Authorization", basic("peer", "x")), "grant_type=client_credentials", 401},
		{"token for nobody", "POST /token", form, "grant_type=refresh_token&refresh_token=x&client_id=nobody", 401},
		{"token by JSON", "POST /token", http.Header{"Content-Type": {"application/json"}}, `{"grant_type":"client_credentials"}`, 400},
		{"token in the URL", "POST /token?grant_type=client_credentials", form, "client_id=im-app", 400},
		{"token twice", "POST /token", form, "grant_type=refresh_token&grant_type=refresh_token&client_id=im-app", 400},

		{"introspect nonsense", "POST /introspect", headers("Authorization", peer), "token=x", 200},
		{"introspect nonsense, signed", "POST /introspect", headers("Authorization", peer, "Accept", "application/token-introspection+jwt"), "token=x", 200},
		{"credential issuer", "GET /.well-known/openid-credential-issuer", nil, "", 200},
		{"keys of credentials", "GET /.well-known/jwt-vc-issuer", nil, "", 200},
		{"nonce for a key proof", "POST /credential/nonce", nil, "", 200},
		{"credential without a token", "POST /credential", headers("Content-Type", "application/json"), "{}", 401},
		{"account without a token", "GET /me", nil, "", 401},
		{"credential of nobody", "POST /credential", headers("Content-Type", "application/json", "Authorization", "DPoP x"), "{}", 401},
		{"introspect several", "POST /introspect/batch", headers("Authorization", peer), "tokens=%5B%22x%22%2C%22y%22%5D", 200},
		{"introspect several, signed", "POST /introspect/batch", headers("Authorization", peer, "Accept", "application/im-introspection-batch+jwt"), "tokens=%5B%22x%22%5D", 200},
		{"introspect none of several", "POST /introspect/batch", headers("Authorization", peer), "tokens=%5B%5D", 400},
		{"introspect several by nobody", "POST /introspect/batch", form, "tokens=%5B%22x%22%5D", 401},
		{"introspect several at length", "POST /introspect/batch", headers("Authorization", peer), "tokens=" + strings.Repeat("x", 300<<10), 413},
		{"introspect nothing", "POST /introspect", headers("Authorization", peer), "", 400},
		{"introspect by nobody", "POST /introspect", form, "token=x", 401},
		{"introspect by a public client", "POST /introspect", form, "token=x&client_id=im-app", 401},

		{"events", "GET /events", headers("Authorization", peer), "", 200},
		{"events from nowhere", "GET /events?after=x", headers("Authorization", peer), "", 400},
		{"events by nobody", "GET /events", nil, "", 401},

		{"revoke nonsense", "POST /revoke", form, "token=x&client_id=im-app", 200},
		{"revoke nothing", "POST /revoke", form, "client_id=im-app", 400},
		{"revoke by nobody", "POST /revoke", form, "token=x&client_id=nobody", 401},
		{"revoke at length", "POST /revoke", form, "client_id=im-app&token=" + strings.Repeat("x", 70<<10), 413},
	}
	for _, test := range tests {
		method, path, _ := strings.Cut(test.request, " ")
		exchange(t, ctx, method, issuer+path, test.header, test.body, test.name, test.want)
	}
	etag := exchange(t, ctx, http.MethodGet, issuer+"/jwks", nil, "", "keys", 200).Get("ETag")
	exchange(t, ctx, http.MethodGet, issuer+"/jwks", http.Header{"If-None-Match": {etag}}, "", "known keys", 304)
}

// exchange sends one request, follows no redirect, and returns the header of the answer.
func exchange(t *testing.T, ctx context.Context, method, address string, header http.Header, body, name string, want int) http.Header {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Errorf("%s: %s = %d, %v, want %d\n%s", name, method, resp.StatusCode, err, want, got)
	}
	return resp.Header
}
