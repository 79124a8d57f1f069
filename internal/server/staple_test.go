package server_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/introspect"
)

const mediaStaple = "application/im-staple+jwt"

// TestStaple holds that the holder of a token gets a statement that it is active now, which others can check without the issuer.
func TestStaple(t *testing.T) {
	s := start(t, nil)
	d, thief := newDevice(t), newDevice(t)
	held := s.login(t, d, "alice")
	a := s.held(t, d, held.access, http.MethodPost, "/staple", nil)
	claims := s.openedJWT(t, a, mediaStaple, "im-staple+jwt", "ES256")
	iat, _ := claims["iat"].(float64)
	exp, _ := claims["exp"].(float64)
	if len(claims) != 4 || claims["iss"] != s.issuer || claims["ath"] != dpop.ATH(held.access) || exp != iat+120 {
		t.Errorf("claims = %v, want iss, ath, iat, and exp two minutes later", claims)
	}
	check := func(token string) error {
		_, err := introspect.OpenStaple(t.Context(), a.body, token, introspect.StapleOptions{Issuer: s.issuer, Keys: s.offline(t), Now: s.clock.now, Leeway: time.Second})
		return err
	}
	if err := check(held.access); err != nil {
		t.Errorf("OpenStaple = %v, want nil", err)
	}
	if err := check(s.login(t, newDevice(t), "bob").access); err == nil {
		t.Error("OpenStaple = nil for another token, want an error")
	}
	wantRefused(t, s.held(t, thief, held.access, http.MethodPost, "/staple", nil), http.StatusUnauthorized, "invalid_token")
	wantRefused(t, s.post(t, "/staple", url.Values{}, http.Header{"Authorization": {"DPoP " + held.access}}), http.StatusUnauthorized, "invalid_dpop_proof")
	wantRefused(t, s.post(t, "/staple", url.Values{}, http.Header{"Authorization": {"Bearer " + held.access}}), http.StatusUnauthorized, "invalid_token")
	wantRefused(t, s.held(t, d, held.refresh, http.MethodPost, "/staple", nil), http.StatusUnauthorized, "invalid_token")
	if a := s.post(t, "/staple", url.Values{"token": {held.access}}, http.Header{"Authorization": {basic(peer.id, secret)}}); a.status != http.StatusUnauthorized {
		t.Errorf("answer to a client that holds no token = %v, want 401", a)
	}
	s.advance(t, 9*time.Minute)
	late := s.openedJWT(t, s.held(t, d, held.access, http.MethodPost, "/staple", nil), mediaStaple, "im-staple+jwt", "ES256")
	if exp, _ := late["exp"].(float64); int64(exp) != held.set.Expires.Unix() {
		t.Errorf("claims = %v, want it to expire with the token at %d", late, held.set.Expires.Unix())
	}
	s.remove(t, held.set.Device)
	wantRefused(t, s.held(t, d, held.access, http.MethodPost, "/staple", nil), http.StatusUnauthorized, "invalid_token")
}

// TestStapleUnknown holds that no staple is made while the issuer cannot know.
func TestStapleUnknown(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	s.faults.set("Revocations")
	s.clock.advance(time.Minute)
	a := s.held(t, d, held.access, http.MethodPost, "/staple", nil)
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("answer = %v, want 503 with Retry-After", a)
	}
}

// stapled is a flow in which the holder of a token gets a staple.
func stapled(t *testing.T, s *site) []step {
	d := newDevice(t)
	held := s.login(t, d, "alice")
	return []step{{
		name: "staple",
		ask:  func() answer { return s.held(t, d, held.access, http.MethodPost, "/staple", nil) },
		good: func(a answer) {
			if a.status != http.StatusOK || a.header.Get("Content-Type") != mediaStaple {
				t.Errorf("answer = %v, want a staple", a)
			}
		},
	}}
}
