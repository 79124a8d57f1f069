package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/server"
)

// sharedPaths says for each path whether a page of another origin may call it: programs call it, or people open it and
// operators ask it. A new path has to be decided on here.
var sharedPaths = map[string]bool{
	"/.well-known/oauth-authorization-server": true,
	"/.well-known/webfinger":                  true,
	"/me/privacy":                             true,
	"/me/export":                              true,
	"/.well-known/im-issuer":                  true,
	"/.well-known/openid-credential-issuer":   true,
	"/.well-known/jwt-vc-issuer":              true,
	"/credential":                             true,
	"/credential/nonce":                       true,
	"/jwks":                                   true,
	"/authorize":                              false,
	"/login/backchannel/{provider}":           false,
	"/login/callback/{provider}":              false,
	"/login/choose":                           false,
	"/login/handle":                           false,
	"/login/consent":                          false,
	"/account":                                false,
	"/account/devices/{id}":                   false,
	"/account/devices/{id}/remove":            false,
	"/account/remove-devices":                 false,
	"/account/actors/{id}/withdraw":           false,
	"/account/delegations/{id}/withdraw":      false,
	"/account/links/{id}/withdraw":            false,
	"/account/privacy":                        false,
	"/account/other-browsers":                 false,
	"/account/leave":                          false,
	"/account/name":                           false,
	"/account/sessions/{id}/end":              false,
	"/account/credentials/{id}/end":           false,
	"/account/export":                         false,
	"/account/sign-out":                       false,
	"/account/signed-out":                     false,
	"/login/another":                          false,
	"/login/cancel":                           false,
	"/":                                       false,
	"/par":                                    true,
	"/token":                                  true,
	"/device_authorization":                   true,
	"/device":                                 false,
	"/device/decide":                          false,
	"/device/done":                            false,
	"/device/qr":                              false,
	"/me/device_codes":                        true,
	"/introspect":                             true,
	"/introspect/batch":                       true,
	"/events":                                 true,
	"/successor":                              true,
	"/register":                               true,
	"/register/{client}":                      true,
	"/staple":                                 true,
	"/revoke":                                 true,
	"/nonce":                                  true,
	"/status/{id}":                            true,
	"/wire/nonce":                             true,
	"/wire/access-token":                      true,
	"/crl/{ca}/{part}":                        true,
	"/xsign/query":                            true,
	"/me/xsign":                               true,
	"/me/vouches/{thumbprint}":                true,
	"/me/profile":                             true,
	"/.well-known/aspe/id/{fingerprint}":      true,
	"/me/actors":                              true,
	"/me/actors/{id}":                         true,
	"/me/delegations":                         true,
	"/me/delegations/{id}":                    true,
	"/me/links":                               true,
	"/me/links/{id}":                          true,
	"/me/withdrawals":                         true,
	"/me":                                     true,
	"/me/handle":                              true,
	"/me/sessions":                            true,
	"/me/sessions/{id}":                       true,
	"/me/credentials":                         true,
	"/me/credentials/{id}":                    true,
	"/me/provider-links":                      true,
	"/me/provider-links/{id}":                 true,
	"/me/devices":                             true,
	"/me/events":                              true,
	"/me/devices/{id}":                        true,
	"/me/devices/{id}/key":                    true,
	"/scim/v2/Users":                          false,
	"/scim/v2/Users/{id}":                     false,
	"/scim/v2/ServiceProviderConfig":          false,
	"/scim/v2/ResourceTypes":                  false,
	"/scim/v2/ResourceTypes/User":             false,
	"/scim/v2/Schemas":                        false,
	"/scim/v2/Schemas/{id}":                   false,
	"/healthz":                                false,
	"/readyz":                                 false,
}

// corsHeaders are the values of all headers of CORS in an answer, by the ends of their names.
func corsHeaders(a answer) map[string]string {
	got := make(map[string]string)
	for name, values := range a.header {
		if end, ok := strings.CutPrefix(name, "Access-Control-"); ok {
			got[end] = strings.Join(values, " and ")
		}
	}
	return got
}

// wantShared wants an answer that a page of any origin may read, with the headers that it needs.
func wantShared(t *testing.T, a answer) {
	t.Helper()
	got := corsHeaders(a)
	if len(got) != 2 || got["Allow-Origin"] != "*" || got["Expose-Headers"] != "DPoP-Nonce, Replay-Nonce, WWW-Authenticate, Retry-After, Link" {
		t.Errorf("answer %v with CORS headers %v, want any origin, and the headers that a client needs", a, got)
	}
}

// TestSharing holds for every route that pages of other origins may call it, or that they may not.
func TestSharing(t *testing.T) {
	s := start(t, nil)
	const page = "https://app.example.net"
	methods := make(map[string][]string)
	for _, r := range new(server.Server).Routes() {
		methods[r.Path] = append(methods[r.Path], r.Method)
	}
	for path := range sharedPaths {
		if methods[path] == nil {
			t.Errorf("there is no path %s any more", path)
		}
	}
	for path, served := range methods {
		shared, decided := sharedPaths[path]
		if !decided {
			t.Errorf("nobody has decided whether pages of other origins may call %s", path)
			continue
		}
		at := strings.NewReplacer("{", "", "}", "").Replace(path)
		t.Run("preflight "+path, func(t *testing.T) {
			req := s.request(t, http.MethodOptions, at, "")
			req.Header.Set("Origin", page)
			req.Header.Set("Access-Control-Request-Method", served[0])
			req.Header.Set("Access-Control-Request-Headers", "authorization,content-type,dpop")
			var a answer
			if n := s.asked(func() { a = s.send(t, s.http, req) }); n != 0 {
				t.Errorf("a preflight asked the stores %d times, want never", n)
			}
			if a.status != http.StatusNoContent || a.header.Get("DPoP-Nonce") != "" || a.header.Get("Set-Cookie") != "" {
				t.Errorf("answer = %v with header %v, want 204 without nonce and cookie", a, a.header)
			}
			got := corsHeaders(a)
			if !shared {
				if len(got) > 0 {
					t.Errorf("answer with %v, want no header of CORS", got)
				}
				return
			}
			if got["Allow-Origin"] != "*" || got["Allow-Methods"] != strings.Join(served, ", ") ||
				got["Allow-Headers"] != "Authorization, DPoP, Content-Type" || got["Max-Age"] != "7200" ||
				got["Allow-Credentials"] != "" || a.header.Get("Vary") == "" {
				t.Errorf("answer with %v and Vary %q, want what lets a client call", got, a.header.Get("Vary"))
			}
		})
		for _, method := range append([]string{http.MethodDelete, "NONSENSE"}, served...) { // also what is not served
			t.Run(method+" "+path, func(t *testing.T) {
				for _, origin := range []string{page, "null", ""} {
					req := s.request(t, method, at, "")
					if origin != "" {
						req.Header.Set("Origin", origin)
					}
					a := s.send(t, s.http, req)
					if shared {
						wantShared(t, a)
					} else if got := corsHeaders(a); len(got) > 0 {
						t.Errorf("answer with %v, want no header of CORS", got)
					}
				}
			})
		}
	}
}

// TestSharedRefusals holds that a page gets to read why it was refused, whatever the reason.
func TestSharedRefusals(t *testing.T) {
	fill := limits("5/1h", "off", "off")
	s := start(t, fill)
	d := newDevice(t)
	send := func(address, path string) answer { return s.post(t, path, refreshForm("x"), from(address)) }
	for _, test := range []struct {
		name   string
		answer answer
		status int
	}{
		{"wrong client", s.tokenFrom(t, "192.0.2.1", caller{"peer", "guess"}, d, refreshForm("x")), http.StatusUnauthorized},
		{"no proof", s.tokenFrom(t, "192.0.2.1", app, nil, refreshForm("x")), http.StatusBadRequest},
		{"invalid grant", s.tokenFrom(t, "192.0.2.1", app, d, refreshForm("x")), http.StatusBadRequest},
		{"no such method", s.get(t, "/token"), http.StatusMethodNotAllowed},
		{"too long", s.post(t, "/token", refreshForm(strings.Repeat("x", 70<<10)), from("192.0.2.1")), http.StatusRequestEntityTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.answer.status != test.status {
				t.Errorf("answer = %v, want %d", test.answer, test.status)
			}
			wantShared(t, test.answer)
		})
	}
	t.Run("too many", func(t *testing.T) {
		a := send("192.0.2.2", "/token")
		for range 5 {
			a = send("192.0.2.2", "/token")
		}
		wantLimited(t, a, false)
		wantShared(t, a)
	})
	t.Run("outage", func(t *testing.T) {
		held := s.login(t, d, "alice")
		s.faults.set("Session")
		defer s.faults.set("")
		a := s.tokenFrom(t, "192.0.2.3", app, d, refreshForm(held.refresh))
		wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
		wantShared(t, a)
	})
	t.Run("nonces off", func(t *testing.T) {
		s.restart(t, map[string]string{"nonce": "off"})
		a := s.get(t, "/nonce")
		wantError(t, a, http.StatusNotFound, "not_found")
		wantShared(t, a)
	})
}
