package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/dpop"
)

// TestSCIMListener holds that SCIM is served at the listener that the setting names, and at no other.
func TestSCIMListener(t *testing.T) {
	for _, listener := range []string{"public", "admin"} {
		t.Run(listener, func(t *testing.T) {
			fill := withOperators()
			fill["operators_more"] = "scim: {listener: " + listener + "}"
			s := start(t, fill)
			at, elsewhere := s.issuer, []string{s.network, s.admin}
			if listener == "admin" {
				at, elsewhere = s.network, []string{s.issuer, s.admin}
			}
			ask := func(origin, method, path, authorization, body string) answer {
				req := s.request(t, method, origin+"/scim/v2"+path, body)
				req.Header.Set("Content-Type", "application/scim+json")
				if authorization != "" {
					req.Header.Set("Authorization", authorization)
				}
				return s.send(t, s.http, req)
			}
			made := ask(at, http.MethodPost, "/Users", "Bearer "+corpToken, string(encode(newUser("gina", "g"))))
			wantStatus(t, made, http.StatusCreated)
			where := at + "/scim/v2/Users/" + made.text("id")
			if got := made.header.Get("Location"); got != where || member(made.json, "meta.location") != where {
				t.Errorf("Location = %q, meta = %v, want %s", got, made.json["meta"], where)
			}
			for _, test := range []struct{ method, path, body string }{
				{http.MethodGet, "/Users", ""},
				{http.MethodPost, "/Users", string(encode(newUser("hugo", "h")))},
				{http.MethodGet, "/Users/" + made.text("id"), ""},
				{http.MethodPut, "/Users/" + made.text("id"), string(encode(newUser("gina", "g")))},
				{http.MethodPatch, "/Users/" + made.text("id"), string(encode(setActive(false)))},
				{http.MethodGet, "/ServiceProviderConfig", ""},
				{http.MethodGet, "/ResourceTypes", ""},
				{http.MethodGet, "/ResourceTypes/User", ""},
				{http.MethodGet, "/Schemas", ""},
				{http.MethodGet, "/Schemas/" + schemaUser, ""},
				{http.MethodDelete, "/Users/" + made.text("id"), ""},
			} {
				for _, origin := range elsewhere {
					if a := ask(origin, test.method, test.path, "Bearer "+corpToken, test.body); a.status != http.StatusNotFound {
						t.Errorf("%s %s at another listener = %v, want 404", test.method, test.path, a)
					}
				}
				wantSCIM(t, ask(at, test.method, test.path, "", test.body), http.StatusUnauthorized, "")
				if a := ask(at, test.method, test.path, "Bearer "+corpToken, test.body); a.status/100 != 2 {
					t.Errorf("%s %s = %v, want success", test.method, test.path, a)
				}
			}

			// An access token comes with a proof for the URL of that listener.
			d := newDevice(t)
			held := operatorOf{d, s.service(t, managers, d, url.Values{"resource": {s.issuer}})}
			for _, origin := range []string{s.issuer, s.network} {
				req := s.request(t, http.MethodGet, at+"/scim/v2/Users", "")
				proof, err := d.Proof(dpop.ProofParams{
					Method: http.MethodGet, URL: origin + "/scim/v2/Users", Nonce: s.nonce(t), IssuedAt: s.clock.now(), AccessToken: held.token,
				})
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "DPoP "+held.token)
				req.Header.Set("DPoP", proof)
				if a := s.send(t, s.http, req); origin == at {
					wantStatus(t, a, http.StatusOK)
				} else if wantSCIM(t, a, http.StatusUnauthorized, ""); !strings.Contains(a.header.Get("WWW-Authenticate"), "invalid_dpop_proof") {
					t.Errorf("challenge = %q, want invalid_dpop_proof", a.header.Get("WWW-Authenticate"))
				}
			}

			// Neither kind of client has the rights of the other.
			wantError(t, s.by(t, held, http.MethodGet, "/admin/keys", ""), http.StatusForbidden, "insufficient_scope")
			ops := s.asOperator(t, "ops")
			if listener == "admin" {
				wantSCIM(t, s.by(t, ops, http.MethodGet, "/scim/v2/Users", ""), http.StatusForbidden, "")
			} else {
				wantSCIM(t, s.held(t, ops.device, ops.token, http.MethodGet, "/scim/v2/Users", nil), http.StatusForbidden, "")
			}
			scopes, _ := s.get(t, s.network+"/.well-known/oauth-protected-resource").json["scopes_supported"].([]any)
			if slices.Contains(scopes, any("scim")) != (listener == "admin") || !slices.Contains(scopes, any("admin")) {
				t.Errorf("scopes_supported = %v", scopes)
			}
			s.reload(t, map[string]string{"scim": ""})
			wantSCIM(t, ask(at, http.MethodGet, "/Users", "Bearer "+corpToken, ""), http.StatusNotFound, "")
		})
	}
}

// TestSCIMBehindProxy holds that SCIM at a listener without TLS answers only the proxy that ends TLS in front of it.
func TestSCIMBehindProxy(t *testing.T) {
	fill := withOperators()
	fill["operators"], fill["proxies"], fill["operators_more"] = "0.0.0.0:0", "[10.0.0.0/8]", "scim: {listener: admin}"
	s := start(t, fill)
	req := s.request(t, http.MethodGet, s.network+"/scim/v2/Users", "")
	req.Header.Set("Authorization", "Bearer "+corpToken)
	wantSCIM(t, s.send(t, s.http, req), http.StatusForbidden, "")
}
