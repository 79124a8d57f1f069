package server_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestIntrospectionCallers holds who may ask (RFC 7662 §2.1), whatever is asked.
func TestIntrospectionCallers(t *testing.T) {
	s := start(t, nil)
	held := s.login(t, newDevice(t), "alice")
	for name, token := range map[string]string{"active token": held.access, "no token": "garbage"} {
		t.Run(name, func(t *testing.T) {
			form := url.Values{"token": {token}}
			wantError(t, s.post(t, "/introspect", form, nil), http.StatusUnauthorized, "invalid_client")
			wantRefused(t, s.post(t, "/introspect", form, http.Header{"Authorization": {"DPoP " + held.access}}), http.StatusUnauthorized, "invalid_dpop_proof")
			wantRefused(t, s.post(t, "/introspect", form, http.Header{"Authorization": {"Bearer " + held.access}}), http.StatusUnauthorized, "invalid_token")
			wantError(t, s.introspect(t, app, token), http.StatusUnauthorized, "invalid_client")
			wantError(t, s.introspect(t, caller{peer.id, "wrong"}, token), http.StatusUnauthorized, "invalid_client")
			wantError(t, s.introspect(t, mute, token), http.StatusForbidden, "unauthorized_client")
		})
	}
	for _, token := range []url.Values{nil, {"token": {""}}} {
		header := http.Header{}
		peer.authenticate(url.Values{}, header)
		wantError(t, s.post(t, "/introspect", token, header), http.StatusBadRequest, "invalid_request")
	}
}

// TestActive holds what an active token's answer says (RFC 7662 §2.2, RFC 9449 §6.2), and who gets it.
func TestActive(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	code := s.code(t, "alice", url.Values{"resource": {"https://rooms.example.com", "https://files.example.com"}})
	held := wantTokens(t, s.token(t, app, d, codeForm(code, nil)))
	for _, by := range []caller{peer, rooms} { // by its domain, and by its resource
		a := s.introspect(t, by, held.access)
		want := object{
			"active": true, "iss": s.issuer, "sub": held.set.Subject, "username": "@alice@example.com",
			"handle": held.set.Handle, "device": held.set.Device, "client_id": app.id, "scope": "im:handle im:device",
			"exp": float64(held.set.Expires.Unix()), "iat": float64(held.set.IssuedAt.Unix()), "jti": held.set.JTI,
			"auth_time": float64(held.set.AuthTime.Unix()), "sid": held.set.SID, "token_type": "DPoP",
			"holder": "unverified", "max_age": float64(5),
		}
		for name, value := range want {
			if a.json[name] != value {
				t.Errorf("%s: %s = %v, want %v", by.id, name, a.json[name], value)
			}
		}
		cnf, _ := a.json["cnf"].(object)
		aud, _ := a.json["aud"].([]any)
		left, _ := a.json["expires_in"].(float64)
		if len(cnf) != 1 || cnf["jkt"] != d.JKT() || !slices.Equal(aud, []any{"https://rooms.example.com", "https://files.example.com"}) || left <= 0 || left > 600 {
			t.Errorf("%s: cnf = %v, aud = %v, expires_in = %v; want the device's key, both resources, and up to 600", by.id, cnf, aud, left)
		}
		wantNotStored(t, a)
	}
	t.Run("its hint", func(t *testing.T) {
		form, header := url.Values{"token": {held.access}, "token_type_hint": {"refresh_token"}}, http.Header{}
		peer.authenticate(form, header)
		if a := s.post(t, "/introspect", form, header); a.json["active"] != true {
			t.Errorf("answer = %v, want active: a hint may be wrong", a)
		}
	})
	t.Run("an unknown hint", func(t *testing.T) { // RFC 7662 §2.1: it may be ignored
		for _, hint := range []string{"", "urn:example:none", "ACCESS_TOKEN", strings.Repeat("x", 4<<10)} {
			with := func(token string) answer {
				return s.asking(t, peer, "/introspect", url.Values{"token": {token}, "token_type_hint": {hint}})
			}
			if a := with(held.access); a.json["active"] != true {
				t.Errorf("%.20q: answer = %v, want active", hint, a)
			}
			if a := with("never-issued"); a.status != http.StatusOK || a.body != "{\"active\":false}\n" {
				t.Errorf("%.20q: answer = %v, want 200 {\"active\":false}", hint, a)
			}
			form := batch(held.access)
			form.Set("token_type_hint", hint)
			if got := answers(t, s.asking(t, peer, "/introspect/batch", form)); len(got) != 1 || !strings.Contains(got[0], `"active":true`) {
				t.Errorf("%.20q: answers = %v, want one that is active", hint, got)
			}
		}
	})
	t.Run("bearer", func(t *testing.T) {
		token := s.token(t, mute, nil, url.Values{"grant_type": {"client_credentials"}}).text("access_token")
		a := s.introspect(t, peer, token)
		if a.json["active"] != true || a.text("token_type") != "Bearer" || a.json["cnf"] != nil || a.text("sub") != mute.id || a.json["sid"] != nil {
			t.Errorf("answer = %v, want an active Bearer token of %s", a, mute.id)
		}
	})
}

// TestInactive holds that every token which is not good now, or not for the caller, gets the same answer.
func TestInactive(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	key := newKey(t)
	header, claims := object{}, object{}
	parts := strings.Split(held.access, ".")
	for i, into := range []*object{&header, &claims} {
		part, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		decode(t, part, into)
	}
	flipped := []byte(held.access)
	flipped[len(flipped)-10] ^= 1
	for name, token := range map[string]string{
		"garbage":              "garbage",
		"refresh token":        held.refresh,
		"cut short":            held.access[:len(held.access)-4],
		"longer":               held.access + "AAAA",
		"flipped":              string(flipped),
		"without signature":    parts[0] + "." + parts[1] + ".",
		"alg none":             compact(object{"typ": "at+jwt", "alg": "none"}, claims, ""),
		"signed by a stranger": sign(key, header, claims),
		"of an unknown key":    sign(key, object{"typ": "at+jwt", "alg": "ES256", "kid": "unknown"}, claims),
		"proof":                s.proof(t, d, ""),
		"very long":            strings.Repeat("a", 8<<10),
		"spaces":               " " + held.access,
	} {
		t.Run(name, func(t *testing.T) { s.wantInactive(t, token) })
	}
	t.Run("not for the caller", func(t *testing.T) {
		for _, by := range []caller{stranger, rooms} {
			if a := s.introspect(t, by, held.access); a.status != http.StatusOK || a.body != "{\"active\":false}\n" {
				t.Errorf("introspection by %s = %v, want 200 {\"active\":false}", by.id, a)
			}
		}
	})
	s.wantActive(t, held.access)
	t.Run("expired", func(t *testing.T) {
		s.advance(t, 10*time.Minute)
		s.wantInactive(t, held.access)
		s.wantAlive(t, d, tokens{access: s.refreshed(t, d, held.refresh).access, refresh: held.refresh})
	})
}

// TestInactiveOnceEnded holds that what ends a session, a device or a token ends the tokens that introspection has
// called active before.
func TestInactiveOnceEnded(t *testing.T) {
	s := start(t, nil)
	for name, end := range map[string]func(t *testing.T, d *device, held tokens){
		"token revoked":   func(t *testing.T, d *device, held tokens) { s.revokeBy(t, app, d, held.access) },
		"session revoked": func(t *testing.T, _ *device, held tokens) { s.revoke(t, app, held.refresh) },
		"device removed":  func(t *testing.T, _ *device, held tokens) { s.remove(t, held.set.Device) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			held, other := s.login(t, d, "alice"), s.login(t, newDevice(t), "alice")
			s.wantActive(t, held.access)
			end(t, d, held)
			s.wantInactive(t, held.access)
			s.wantActive(t, other.access)
		})
	}
	t.Run("device removed, which the token does not name", func(t *testing.T) {
		d := newDevice(t)
		device := s.login(t, d, "alice").set.Device
		held := wantTokens(t, s.token(t, app, d, codeForm(s.code(t, "alice", url.Values{"scope": {"im:handle"}}), nil)))
		if held.set.Device != "" {
			t.Fatalf("device = %q, want none", held.set.Device)
		}
		s.wantActive(t, held.access)
		s.remove(t, device)
		s.wantEnded(t, d, held)
	})
}
