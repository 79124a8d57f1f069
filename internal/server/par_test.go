package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
)

// push pushes an authorization request of app, with changes, and with a proof by d unless it is nil.
func (s *site) push(t *testing.T, d *device, change url.Values) answer {
	t.Helper()
	header := http.Header{}
	if d != nil {
		proof, err := d.Proof(dpop.ProofParams{Method: http.MethodPost, URL: s.issuer + "/par", Nonce: s.nonce(t), IssuedAt: s.clock.now()})
		if err != nil {
			t.Fatal(err)
		}
		header.Set("DPoP", proof)
	}
	return s.post(t, "/par", authorization(change), header)
}

// pushed is push that must succeed; it returns the request URI.
func (s *site) pushed(t *testing.T, d *device, change url.Values) string {
	t.Helper()
	a := s.push(t, d, change)
	uri := a.text("request_uri")
	if a.status != http.StatusCreated || !strings.HasPrefix(uri, "urn:ietf:params:oauth:request_uri:") || a.json["expires_in"] != float64(300) {
		t.Fatalf("answer = %v, want 201 with a request_uri for 300 s", a)
	}
	wantNotStored(t, a)
	return uri
}

// pushedLogin signs alice in for a pushed request and returns the authorization answer.
func (s *site) pushedLogin(t *testing.T, uri string) url.Values {
	t.Helper()
	start := s.issuer + "/authorize?" + url.Values{"client_id": {app.id}, "request_uri": {uri}}.Encode()
	back, err := s.browser().Login(t.Context(), start, browser.To(redirectURI), map[string]string{"text": "alice", "password": "alice"})
	if err != nil {
		t.Fatal(err)
	}
	return back.Query()
}

// refer opens /authorize with a request URI.
func (s *site) refer(t *testing.T, client, uri string) answer {
	t.Helper()
	return s.get(t, "/authorize?"+url.Values{"client_id": {client}, "request_uri": {uri}}.Encode())
}

func TestPushed(t *testing.T) {
	s := start(t, nil)
	t.Run("login", func(t *testing.T) {
		d := newDevice(t)
		uri := s.pushed(t, nil, nil)
		for range 2 { // a page may be loaded again before the login ends
			if a := s.refer(t, app.id, uri); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), s.provider.url) {
				t.Fatalf("answer = %v, want a redirect to the provider", a)
			}
		}
		q := s.pushedLogin(t, uri)
		if q.Get("state") != appState || q.Get("iss") != s.issuer {
			t.Errorf("authorization answer = %v, want state and iss", q)
		}
		wantTokens(t, s.token(t, app, d, codeForm(q.Get("code"), nil)))
		wantPage(t, s.refer(t, app.id, uri), http.StatusBadRequest) // spent
	})
	t.Run("two logins, one code", func(t *testing.T) {
		uri := s.pushed(t, nil, nil)
		query := url.Values{"client_id": {app.id}, "request_uri": {uri}}
		var visits []visit
		for range 2 {
			b := s.browser()
			back, err := b.Login(t.Context(), s.issuer+"/authorize?"+query.Encode(),
				func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) }, map[string]string{"text": "alice", "password": "alice"})
			if err != nil {
				t.Fatal(err)
			}
			visits = append(visits, visit{b, back})
		}
		s.wantCode(t, s.open(t, visits[0].browser, visits[0].callback))
		second := s.open(t, visits[1].browser, visits[1].callback)
		to, err := url.Parse(second.header.Get("Location"))
		if err != nil || to.Query().Get("error") != "invalid_request_uri" || to.Query().Get("code") != "" {
			t.Errorf("second login = %v to %v, want invalid_request_uri", second, to)
		}
	})
	t.Run("other parameters do not count", func(t *testing.T) {
		uri := s.pushed(t, nil, nil)
		a := s.get(t, "/authorize?"+url.Values{
			"client_id": {app.id}, "request_uri": {uri}, "redirect_uri": {"https://evil.example.com"}, "code_challenge_method": {"plain"},
		}.Encode())
		if !strings.HasPrefix(a.header.Get("Location"), s.provider.url) {
			t.Errorf("answer = %v to %q, want a redirect to the provider", a, a.header.Get("Location"))
		}
	})
	t.Run("another client's", func(t *testing.T) {
		wantPage(t, s.refer(t, otherApp.id, s.pushed(t, nil, nil)), http.StatusBadRequest)
	})
	t.Run("unknown", func(t *testing.T) {
		wantPage(t, s.refer(t, app.id, "urn:ietf:params:oauth:request_uri:"+strings.Repeat("A", 43)), http.StatusBadRequest)
	})
	t.Run("expired", func(t *testing.T) {
		uri := s.pushed(t, nil, nil)
		s.advance(t, 5*time.Minute)
		wantPage(t, s.refer(t, app.id, uri), http.StatusBadRequest)
	})
	t.Run("required of a client", func(t *testing.T) {
		a := s.get(t, "/authorize?"+authorization(url.Values{"client_id": {"par-app"}}).Encode())
		to, err := url.Parse(a.header.Get("Location"))
		if err != nil || to.Query().Get("error") != "invalid_request" {
			t.Errorf("answer = %v to %v, want invalid_request at the redirect URI", a, to)
		}
		uri := s.pushed(t, nil, url.Values{"client_id": {"par-app"}})
		if a := s.refer(t, "par-app", uri); !strings.HasPrefix(a.header.Get("Location"), s.provider.url) {
			t.Errorf("answer = %v, want a redirect to the provider", a)
		}
	})
}

// TestPushedRefused holds that a pushed request is spent by a refusal that the app is told, as it is by a code, and not
// before (RFC 9126 §4).
func TestPushedRefused(t *testing.T) {
	s := start(t, nil)
	silent := url.Values{"prompt": {"none"}}
	for _, test := range []struct {
		name   string
		change url.Values
		with   tampering
		code   string
		asked  bool
	}{
		{"by the person", nil, tampering{}, "access_denied", true},
		{"by the provider", nil, tampering{callback: func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") }}, "access_denied", false},
		{"as she must be asked", silent, tampering{answer: patient}, "consent_required", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			uri := s.pushed(t, nil, test.change)
			pushed := url.Values{"request_uri": {uri}}
			s.provider.set(tampering{answer: test.with.answer})
			other := s.visit(t, "alice", pushed) // a login that begins meanwhile, with the same request
			s.provider.tamper(t, test.with)
			v := s.visit(t, "alice", pushed)
			if a := s.refer(t, app.id, uri); a.status != http.StatusSeeOther {
				t.Errorf("before the refusal: %v, want a redirect", a)
			}
			a := s.arrive(t, v.browser, v.callback)
			if to, err := a.to(); test.asked && err == nil {
				page := s.send(t, v.browser.Client(), s.request(t, http.MethodGet, to.String(), ""))
				wantQuestion(t, page)
				a = s.decide(t, v.browser, to.Query().Get("state"), "deny")
			}
			s.wantRedirect(t, a, redirectURI, appState, test.code)
			wantPage(t, s.refer(t, app.id, uri), http.StatusBadRequest)
			if to, err := s.open(t, other.browser, other.callback).to(); err != nil || to.Query().Has("code") {
				t.Errorf("the other login leads to %v, %v, want no code", to, err)
			}
		})
	}
}

// TestPushedKey holds RFC 9449 §10.1: a proof at /par and dpop_jkt name the key that may redeem the code.
func TestPushedKey(t *testing.T) {
	s := start(t, nil)
	for name, push := range map[string]func(*testing.T, *device) string{
		"by a proof": func(t *testing.T, d *device) string { return s.pushed(t, d, nil) },
		"by dpop_jkt": func(t *testing.T, d *device) string {
			return s.pushed(t, nil, url.Values{"dpop_jkt": {d.JKT()}})
		},
		"by both": func(t *testing.T, d *device) string { return s.pushed(t, d, url.Values{"dpop_jkt": {d.JKT()}}) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			code := s.pushedLogin(t, push(t, d)).Get("code")
			wantError(t, s.token(t, app, newDevice(t), codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
			wantTokens(t, s.token(t, app, d, codeForm(code, nil)))
		})
	}
	t.Run("which differ", func(t *testing.T) {
		a := s.push(t, newDevice(t), url.Values{"dpop_jkt": {newDevice(t).JKT()}})
		wantError(t, a, http.StatusBadRequest, "invalid_request")
	})
	t.Run("malformed dpop_jkt", func(t *testing.T) {
		wantError(t, s.push(t, nil, url.Values{"dpop_jkt": {"short"}}), http.StatusBadRequest, "invalid_request")
	})
	t.Run("of a removed device", func(t *testing.T) {
		d := newDevice(t)
		s.remove(t, s.login(t, d, "alice").set.Device)
		wantError(t, s.push(t, d, nil), http.StatusBadRequest, "invalid_request")
	})
	t.Run("proof without a nonce", func(t *testing.T) {
		proof, err := newDevice(t).Proof(dpop.ProofParams{Method: http.MethodPost, URL: s.issuer + "/par"})
		if err != nil {
			t.Fatal(err)
		}
		a := s.post(t, "/par", authorization(nil), http.Header{"Dpop": {proof}})
		wantError(t, a, http.StatusBadRequest, "use_dpop_nonce")
		if a.header.Get("DPoP-Nonce") == "" {
			t.Error("use_dpop_nonce without DPoP-Nonce")
		}
	})
	t.Run("proof for /token", func(t *testing.T) {
		a := s.post(t, "/par", authorization(nil), http.Header{"Dpop": {s.proof(t, newDevice(t), "")}})
		wantError(t, a, http.StatusBadRequest, "invalid_dpop_proof")
	})
	t.Run("proof twice", func(t *testing.T) {
		proof, err := newDevice(t).Proof(dpop.ProofParams{Method: http.MethodPost, URL: s.issuer + "/par", Nonce: s.nonce(t)})
		if err != nil {
			t.Fatal(err)
		}
		if a := s.post(t, "/par", authorization(nil), http.Header{"Dpop": {proof}}); a.status != http.StatusCreated {
			t.Errorf("answer = %v, want 201", a)
		}
		a := s.post(t, "/par", authorization(nil), http.Header{"Dpop": {proof}})
		wantError(t, a, http.StatusBadRequest, "invalid_dpop_proof")
	})
}

func TestPushRefused(t *testing.T) {
	s := start(t, nil)
	for _, test := range []struct {
		name   string
		change url.Values
		status int
		code   string
	}{
		{"request_uri", url.Values{"request_uri": {"urn:ietf:params:oauth:request_uri:x"}}, http.StatusBadRequest, "invalid_request"},
		{"request object", url.Values{"request": {"e30.e30."}}, http.StatusBadRequest, "request_not_supported"},
		{"redirect URI of nobody", url.Values{"redirect_uri": {"https://evil.example.com"}}, http.StatusBadRequest, "invalid_request"},
		{"no redirect URI, of several", url.Values{"redirect_uri": nil}, http.StatusBadRequest, "invalid_request"},
		{"no PKCE", url.Values{"code_challenge": nil}, http.StatusBadRequest, "invalid_request"},
		{"response type", url.Values{"response_type": {"token"}}, http.StatusBadRequest, "unsupported_response_type"},
		{"scope", url.Values{"scope": {"introspect"}}, http.StatusBadRequest, "invalid_scope"},
		{"resource", url.Values{"resource": {"https://evil.example.com"}}, http.StatusBadRequest, "invalid_target"},
		{"unknown client", url.Values{"client_id": {"nobody"}}, http.StatusUnauthorized, "invalid_client"},
		{"confidential client without its secret", url.Values{"client_id": {webApp.id}}, http.StatusUnauthorized, "invalid_client"},
		{"twice", url.Values{"scope": {"im:handle", "im:device"}}, http.StatusBadRequest, "invalid_request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantError(t, s.push(t, nil, test.change), test.status, test.code)
		})
	}
	t.Run("store down", func(t *testing.T) {
		s.faults.set("InsertPushed")
		wantError(t, s.push(t, nil, nil), http.StatusServiceUnavailable, "temporarily_unavailable")
		s.faults.set("")
		uri := s.pushed(t, nil, nil)
		s.faults.set("Pushed")
		wantPage(t, s.refer(t, app.id, uri), http.StatusServiceUnavailable)
		s.faults.set("")
		if s.pushedLogin(t, uri).Get("code") == "" {
			t.Error("the pushed request was lost")
		}
	})
}
