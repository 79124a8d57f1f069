package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestAuthorizeShowsPage holds that nobody is sent anywhere while it is not certain whom the redirect URI belongs to
// (RFC 6749 §4.1.2.1, RFC 9700 §4.11).
func TestAuthorizeShowsPage(t *testing.T) {
	s := start(t, nil)
	for _, test := range []struct {
		name   string
		change url.Values
		status int
	}{
		{"no client", url.Values{"client_id": nil}, 400},
		{"unknown client", url.Values{"client_id": {"nobody"}}, 400},
		{"client without redirect URIs", url.Values{"client_id": {peer.id}}, 400},
		{"no redirect URI among several", url.Values{"redirect_uri": nil}, 400},
		{"another's host", url.Values{"redirect_uri": {"https://app.example.net/callback"}}, 400},
		{"localhost", url.Values{"redirect_uri": {"http://localhost:7777/callback"}}, 400},
		{"other loopback address", url.Values{"redirect_uri": {"http://127.0.0.2:7777/callback"}}, 400},
		{"loopback by https", url.Values{"redirect_uri": {"https://127.0.0.1:7777/callback"}}, 400},
		{"loopback with other path", url.Values{"redirect_uri": {"http://127.0.0.1:7777/callback/"}}, 400},
		{"loopback with a query", url.Values{"redirect_uri": {"http://127.0.0.1:7777/callback?a=b"}}, 400},
		{"loopback with an empty query", url.Values{"redirect_uri": {"http://127.0.0.1:7777/callback?"}}, 400},
		{"loopback with a fragment", url.Values{"redirect_uri": {"http://127.0.0.1:7777/callback#a"}}, 400},
		{"loopback with a user", url.Values{"redirect_uri": {"http://a@127.0.0.1:7777/callback"}}, 400},
		{"loopback of another host", url.Values{"redirect_uri": {"http://127.0.0.1:7777@evil.example.net/callback"}}, 400},
		{"backslash", url.Values{"redirect_uri": {`http://127.0.0.1:7777\@evil.example.net/callback`}}, 400},
		{"dot segments", url.Values{"redirect_uri": {"http://127.0.0.1:7777/a/../callback"}}, 400},
		{"encoded path", url.Values{"redirect_uri": {"http://127.0.0.1:7777/%63allback"}}, 400},
		{"port of an https URI", url.Values{"redirect_uri": {"https://app.example.com:8443/callback?from=issuer"}}, 400},
		{"https URI without its query", url.Values{"redirect_uri": {"https://app.example.com/callback"}}, 400},
		{"relative", url.Values{"redirect_uri": {"/callback"}}, 400},
		{"not a URI", url.Values{"redirect_uri": {"%"}}, 400},
		{"two redirect URIs", url.Values{"redirect_uri": {redirectURI, redirectURI}}, 400},
		{"two clients", url.Values{"client_id": {app.id, app.id}}, 400},
		{"any parameter twice", url.Values{"state": {"a", "b"}}, 400},
		{"unknown parameter twice", url.Values{"unknown": {"a", "b"}}, 400},
		{"oversized parameter", url.Values{"state": {strings.Repeat("a", 8<<10+1)}}, 413},
		{"not UTF-8", url.Values{"state": {"\xff"}}, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := authorization(test.change)
			wantPage(t, s.get(t, "/authorize?"+q.Encode()), test.status)
			wantPage(t, s.post(t, "/authorize", q, nil), test.status)
		})
	}
	t.Run("POST with parameters in the URL", func(t *testing.T) {
		wantPage(t, s.post(t, "/authorize?"+authorization(nil).Encode(), nil, nil), http.StatusBadRequest)
	})
	t.Run("POST of JSON", func(t *testing.T) {
		wantPage(t, s.post(t, "/authorize", authorization(nil), http.Header{"Content-Type": {"application/json"}}), http.StatusBadRequest)
	})
}

// TestAuthorizeTellsApp holds what the app is told at its redirect URI, always with its state and the issuer.
func TestAuthorizeTellsApp(t *testing.T) {
	s := start(t, nil)
	for _, test := range []struct {
		name   string
		change url.Values
		code   string
	}{
		{"no response type", url.Values{"response_type": nil}, "unsupported_response_type"},
		{"token", url.Values{"response_type": {"token"}}, "unsupported_response_type"},
		{"code and token", url.Values{"response_type": {"code token"}}, "unsupported_response_type"},
		{"fragment", url.Values{"response_mode": {"fragment"}}, "unsupported_response_mode"},
		{"form_post", url.Values{"response_mode": {"form_post"}}, "unsupported_response_mode"},
		{"no challenge", url.Values{"code_challenge": nil}, "invalid_request"},
		{"no challenge method", url.Values{"code_challenge_method": nil}, "invalid_request"},
		{"plain", url.Values{"code_challenge_method": {"plain"}, "code_challenge": {verifier}}, "invalid_request"},
		{"short challenge", url.Values{"code_challenge": {"short"}}, "invalid_request"},
		{"challenge with spare bits", url.Values{"code_challenge": {strings.Repeat("A", 42) + "B"}}, "invalid_request"},
		{"padded challenge", url.Values{"code_challenge": {challenge(verifier) + "="}}, "invalid_request"},
		{"bad dpop_jkt", url.Values{"dpop_jkt": {"short"}}, "invalid_request"},
		{"no dpop_jkt where it is due", url.Values{"client_id": {strictApp.id}}, "invalid_request"},
		{"unregistered scope", url.Values{"scope": {"im:handle introspect"}}, "invalid_scope"},
		{"unknown scope", url.Values{"scope": {"everything"}}, "invalid_scope"},
		{"unregistered resource", url.Values{"resource": {"https://peer.example.net"}}, "invalid_target"},
		{"one resource of two unregistered", url.Values{"resource": {"https://rooms.example.com", "https://peer.example.net"}}, "invalid_target"},
		{"relative resource", url.Values{"resource": {"rooms"}}, "invalid_target"},
		{"domain of others", url.Values{"resource": {"im:example.org"}}, "invalid_target"},
		{"request object", url.Values{"request": {"eyJhbGciOiJub25lIn0.e30."}}, "request_not_supported"},
		{"request URI", url.Values{"request_uri": {"https://app.example.com/request"}}, "request_uri_not_supported"},
		{"max_age in words", url.Values{"max_age": {"soon"}}, "invalid_request"},
		{"negative max_age", url.Values{"max_age": {"-1"}}, "invalid_request"},
		{"unknown domain", url.Values{"im_domain": {"example.net"}}, "invalid_request"},
		{"domain the client is not registered for", url.Values{"im_domain": {"example.org"}}, "invalid_request"},
		{"no domain among several, and no page", url.Values{"client_id": {bothApp.id}, "prompt": {"none"}}, "interaction_required"},
		{"no provider among several, and no page", url.Values{"client_id": {twoApp.id}, "im_domain": {"two.example"}, "prompt": {"none"}}, "interaction_required"},
		{"provider of a domain the client is not registered for", url.Values{"client_id": {twoApp.id}, "im_provider": {"dev"}}, "invalid_request"},
		{"provider of another domain than the hint's", url.Values{"client_id": {twoApp.id}, "im_provider": {"staff"}, "login_hint": {"im:%40alice@example.org"}}, "invalid_request"},
		{"unknown prompt", url.Values{"prompt": {"loudly"}}, "invalid_request"},
		{"prompt none and another", url.Values{"prompt": {"none login"}}, "invalid_request"},
		{"unknown provider", url.Values{"im_provider": {"nobody"}}, "invalid_request"},
		{"provider of another domain", url.Values{"im_provider": {"other"}}, "invalid_request"},
		{"device name of 65 characters", url.Values{"im_device_name": {strings.Repeat("ä", 65)}}, "invalid_request"},
		{"device name with a line break", url.Values{"im_device_name": {"a\nb"}}, "invalid_request"},
		{"oversized state", url.Values{"state": {strings.Repeat("s", 4097)}}, "invalid_request"},
		{"odd state", url.Values{"state": {"a&b=c#d e+f%67ü\"<"}, "scope": {"everything"}}, "invalid_scope"},
		{"no state", url.Values{"state": nil, "scope": {"everything"}}, "invalid_scope"},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := authorization(test.change)
			for _, a := range []answer{s.get(t, "/authorize?"+q.Encode()), s.post(t, "/authorize", q, nil)} {
				s.wantRedirect(t, a, redirectURI, q.Get("state"), test.code)
				if a.header.Get("Set-Cookie") != "" {
					t.Error("a refused request set a cookie")
				}
			}
		})
	}
	t.Run("redirect URI with a query", func(t *testing.T) {
		q := authorization(url.Values{"redirect_uri": {"https://app.example.com/callback?from=issuer"}, "scope": {"everything"}})
		to := s.get(t, "/authorize?"+q.Encode()).header.Get("Location")
		if !strings.HasPrefix(to, "https://app.example.com/callback?from=issuer&") || !strings.Contains(to, "error=invalid_scope") {
			t.Errorf("Location = %q, want the registered query and the error", to)
		}
	})
}

// TestAuthorizeGoesOn holds what is accepted, and what is asked of the OpenID provider then.
func TestAuthorizeGoesOn(t *testing.T) {
	s := start(t, nil)
	for _, test := range []struct {
		name   string
		change url.Values
		want   url.Values // at the provider
	}{
		{"any port", url.Values{"redirect_uri": {"http://127.0.0.1:1/callback"}}, nil},
		{"no port", url.Values{"redirect_uri": {"http://127.0.0.1/callback"}}, nil},
		{"IPv6", url.Values{"redirect_uri": {"http://[::1]:7777/callback"}}, nil},
		{"https", url.Values{"redirect_uri": {"https://app.example.com/callback?from=issuer"}}, nil},
		{"only redirect URI left out", url.Values{"client_id": {otherApp.id}, "redirect_uri": nil}, nil},
		{"no state", url.Values{"state": nil}, nil},
		{"state of 4096 bytes", url.Values{"state": {strings.Repeat("s", 4096)}}, nil},
		{"unknown parameters", url.Values{"unknown": {"1"}, "nonce": {"of-the-app"}}, nil},
		{"openid", url.Values{"scope": {"openid im:handle"}}, nil},
		{"device name of 64 characters", url.Values{"im_device_name": {strings.Repeat("ä", 64)}}, nil},
		{"parameters without value", url.Values{"scope": {""}, "max_age": {""}, "dpop_jkt": {""}, "request": {""}, "im_domain": {""}}, nil},
		{"hint, prompt and age", url.Values{"login_hint": {"alice"}, "prompt": {"login"}, "max_age": {"60"}},
			url.Values{"login_hint": {"alice"}, "prompt": {"login"}, "max_age": {"0"}}},
		{"domain by name", url.Values{"client_id": {bothApp.id}, "im_domain": {"example.org"}}, url.Values{"redirect_uri": {s.issuer + "/login/callback/other"}}},
		{"domain by provider", url.Values{"client_id": {twoApp.id}, "im_provider": {"staff"}}, url.Values{"redirect_uri": {s.issuer + "/login/callback/staff"}}},
		{"domain and provider by name", url.Values{"client_id": {twoApp.id}, "im_domain": {"two.example"}, "im_provider": {"staff"}}, url.Values{"redirect_uri": {s.issuer + "/login/callback/staff"}}},
		{"consent is not the provider's to ask for", url.Values{"prompt": {"consent login"}}, url.Values{"prompt": {"login"}}},
		{"domain by hint", url.Values{"client_id": {bothApp.id}, "login_hint": {"im:%40alice@example.com"}}, url.Values{"redirect_uri": {s.issuer + "/login/callback/dev"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := authorization(test.change)
			for _, a := range []answer{s.get(t, "/authorize?"+q.Encode()), s.post(t, "/authorize", q, nil)} {
				to, err := url.Parse(a.header.Get("Location"))
				if err != nil || a.status != http.StatusSeeOther || to.Scheme+"://"+to.Host != s.provider.url {
					t.Fatalf("answer = %v to %q, want a redirect to the provider", a, to)
				}
				asked := to.Query()
				for name, want := range test.want {
					if asked.Get(name) != want[0] {
						t.Errorf("%s = %q at the provider, want %q", name, asked.Get(name), want[0])
					}
				}
				for _, name := range []string{"state", "nonce", "code_challenge"} {
					if len(asked.Get(name)) < 43 || asked.Get(name) == q.Get(name) {
						t.Errorf("%s = %q at the provider, want 256 bits of the issuer's own", name, asked.Get(name))
					}
				}
				if asked.Get("code_challenge_method") != "S256" || a.header.Get("Set-Cookie") == "" {
					t.Errorf("code_challenge_method = %q, Set-Cookie = %q; want S256 and one", asked.Get("code_challenge_method"), a.header.Get("Set-Cookie"))
				}
				wantNotStored(t, a)
			}
		})
	}
}

// TestDeviceName holds that the name of a device is the one its login gave it.
func TestDeviceName(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	wantTokens(t, s.token(t, app, d, codeForm(s.code(t, "alice", url.Values{"im_device_name": {"Alice’s 📱"}}), nil)))
	device, err := s.store.DeviceByKey(t.Context(), "example.com", d.JKT())
	if err != nil || device.Name != "Alice’s 📱" || device.Client != app.id {
		t.Errorf("DeviceByKey = %+v, %v, want it by name and client", device, err)
	}
}

// TestRequestedScope holds that a login gets what it asked for, and handle and device when it asked for nothing.
func TestRequestedScope(t *testing.T) {
	s := start(t, nil)
	for scope, want := range map[string]string{
		"": "im:handle im:device", "openid": "im:handle im:device", "im:device": "im:device", "openid im:handle im:handle": "im:handle",
	} {
		d := newDevice(t)
		held := wantTokens(t, s.token(t, app, d, codeForm(s.code(t, "alice", url.Values{"scope": {scope}}), nil)))
		if held.set.Scope != want || (held.set.Device != "") != strings.Contains(want, "im:device") || (held.set.Handle != "") != strings.Contains(want, "im:handle") {
			t.Errorf("token for scope %q with %q, handle %q, device %q; want %q", scope, held.set.Scope, held.set.Handle, held.set.Device, want)
		}
	}
}

// TestPKCEAndKeyOfOneLoginOnly holds that a code of one login cannot be redeemed with what belongs to another.
func TestPKCEAndKeyOfOneLoginOnly(t *testing.T) {
	s := start(t, nil)
	const other = "another-verifier-that-is-as-long-as-it-must-be-"
	first, second := newDevice(t), newDevice(t)
	one := s.code(t, "alice", url.Values{"dpop_jkt": {first.JKT()}})
	two := s.code(t, "bob", url.Values{"dpop_jkt": {second.JKT()}, "code_challenge": {challenge(other)}})
	wantError(t, s.token(t, app, first, codeForm(two, nil)), http.StatusBadRequest, "invalid_grant")
	wantError(t, s.token(t, app, second, codeForm(one, url.Values{"code_verifier": {other}})), http.StatusBadRequest, "invalid_grant")
	wantTokens(t, s.token(t, app, first, codeForm(one, nil)))
	wantTokens(t, s.token(t, app, second, codeForm(two, url.Values{"code_verifier": {other}})))
}
