package oauth_test

import (
	"maps"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/oauth"
)

// TestAudit holds which requests record an event, with all its fields: those that add a device and those that end a session or a
// token, and no others.
func TestAudit(t *testing.T) {
	for _, inUpdate := range []bool{true, false} {
		i := newIssuer(t, inUpdate)
		alice, phone, machine := i.user(t, "alice"), newDevice(t), newDevice(t)
		const address = "192.0.2.1"
		of := func(token string, fields map[string]any) map[string]any { // the fields of a user's session
			set := claimsOf(t, token)
			id, err := set.Identity()
			if err != nil {
				t.Fatal(err)
			}
			event := map[string]any{
				"domain": "example.com", "user": alice.ID, "device": id.Device.Device(), "client": "app", "session": set.SID, "address": address,
			}
			maps.Copy(event, fields)
			return event
		}
		wants := func(t *testing.T, want ...map[string]any) {
			t.Helper()
			if got := i.log.take(t); len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Errorf("events = %v\nwant %v", got, want)
			}
		}
		revoke := func(t *testing.T, r oauth.TokenRequest) {
			t.Helper()
			if err := i.Revoke(t.Context(), r); err != nil {
				t.Fatalf("Revoke = %v", err)
			}
		}
		t.Run("a device is added by a login, once", func(t *testing.T) {
			held := i.login(t, alice, phone)
			wants(t, of(held.AccessToken, map[string]any{"event": "device.added", "actor": "user"}))
			i.login(t, alice, phone)
			i.token(t, "app", phone, refreshForm(held.RefreshToken))
			i.token(t, "app", phone, exchangeForm(held.AccessToken, accessToken, ""))
			i.token(t, "service", machine, serviceForm)
			wants(t)
		})
		t.Run("a device is added under a delegation, once", func(t *testing.T) {
			key, laptop := newKey(t), newDevice(t)
			held := i.login(t, alice, phone).AccessToken
			delegation := i.delegate(t, held, key)
			form := embedForm(entry(t, nested.AttestedBy, i.deviceBy(t, func(s nested.Statement) string {
				return i.byKey(t, key, delegation, s)
			}, claimsOf(t, held), laptop.JKT(), "07a", 1)))
			i.token(t, "app", laptop, form)
			wants(t, map[string]any{
				"event": "device.added", "actor": "user", "domain": "example.com", "user": alice.ID, "device": "07a", "client": "app",
				"statement": delegation.JTI, "address": address,
			})
			i.token(t, "app", laptop, form)
			wants(t)
		})
		t.Run("a code is used by another key", func(t *testing.T) {
			code := i.code(t, alice, nil)
			held := i.token(t, "app", phone, codeForm(code)).AccessToken
			for range 2 { // by the same key it is refused, and no more
				if _, err := i.Token(t.Context(), i.request(t, "app", phone, codeForm(code))); err == nil {
					t.Error("a code was redeemed twice")
				}
			}
			wants(t)
			if _, err := i.Token(t.Context(), i.request(t, "app", newDevice(t), codeForm(code))); err == nil {
				t.Error("a code was redeemed twice")
			}
			wants(t, of(held, map[string]any{"event": "code.reused", "actor": "client"}))
		})
		t.Run("a replaced refresh token is used", func(t *testing.T) {
			held := i.login(t, alice, phone)
			i.token(t, "app", phone, refreshForm(i.token(t, "app", phone, refreshForm(held.RefreshToken)).RefreshToken))
			refused := func() {
				t.Helper()
				if _, err := i.Token(t.Context(), i.request(t, "app", phone, refreshForm(held.RefreshToken))); err == nil {
					t.Error("a replaced token was accepted")
				}
			}
			refused() // with a nonce from before
			wants(t)
			i.advance(t, 3*time.Minute)
			refused()
			wants(t, of(held.AccessToken, map[string]any{"event": "refresh.reused", "actor": "client"}))
			refused()
			wants(t)
		})
		t.Run("a session is revoked", func(t *testing.T) {
			held := i.login(t, alice, phone)
			revoke(t, i.request(t, "other", nil, url.Values{"token": {held.RefreshToken}}))
			revoke(t, i.request(t, "app", nil, url.Values{"token": {"unknown"}}))
			wants(t)
			revoke(t, i.request(t, "app", nil, url.Values{"token": {held.RefreshToken}}))
			wants(t, of(held.AccessToken, map[string]any{"event": "session.revoked", "actor": "client"}))
			revoke(t, i.request(t, "app", nil, url.Values{"token": {held.RefreshToken}}))
			wants(t)
		})
		t.Run("a token is revoked", func(t *testing.T) {
			held := i.login(t, alice, phone).AccessToken
			grant := i.state(t, held, grantTo("service", "im:handle"))
			own := i.token(t, "service", machine, serviceForm).AccessToken
			acting := i.token(t, "service", machine, exchangeForm(grant.Token, statement, own)).AccessToken
			i.log.take(t)
			revoke(t, i.revocation(t, "app", phone, held))
			wants(t, of(held, map[string]any{"event": "token.revoked", "actor": "client"}))
			revoke(t, i.request(t, "service", nil, url.Values{"token": {own}}))
			wants(t, map[string]any{"event": "token.revoked", "actor": "client", "client": "service", "address": address})
			revoke(t, i.request(t, "service", nil, url.Values{"token": {acting}}))
			wants(t, map[string]any{
				"event": "token.revoked", "actor": "client", "client": "service", "domain": "example.com", "user": alice.ID, "address": address,
			})
		})
	}
}
