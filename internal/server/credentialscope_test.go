package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/imidentity/issuer/claims"
)

// wallet gets credentials for the devices of its users.
var wallet = caller{id: "wallet"}

// inWallet logs a person in with the wallet, as an app that does other things, too.
func (s *site) inWallet(t *testing.T, d *device, person string) tokens {
	t.Helper()
	code := s.code(t, person, url.Values{"client_id": {wallet.id}, "scope": {"im:handle im:device account im:credential"}})
	return wantTokens(t, s.token(t, wallet, d, codeForm(code, nil)))
}

// forCredentials refreshes for a token with which the device gets credentials.
func (s *site) forCredentials(t *testing.T, d *device, held tokens) string {
	t.Helper()
	return wantTokens(t, s.token(t, wallet, d, s.walletRefresh(held, "im:credential"))).access
}

// walletRefresh is the form that refreshes for a token for the issuer alone, with one scope.
func (s *site) walletRefresh(held tokens, scope string) url.Values {
	form := refreshForm(held.refresh)
	form.Set("resource", s.issuer)
	form.Set("scope", scope)
	return form
}

// TestCredentialScope holds which tokens have the scope for credentials, and what these say: a token for the issuer alone has the device,
// with or without the scope im:device.
func TestCredentialScope(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	// A wallet knows the scope from the metadata, and names no resource, because these name no other authorization server.
	for _, resource := range [][]string{nil, {s.issuer}} {
		change := url.Values{"client_id": {wallet.id}, "scope": {"openid im:credential"}}
		if resource != nil {
			change["resource"] = resource
		}
		held := wantTokens(t, s.token(t, wallet, phone, codeForm(s.code(t, "alice", change), nil)))
		again := wantTokens(t, s.token(t, wallet, phone, refreshForm(held.refresh)))
		for _, set := range []claims.Set{held.set, again.set} {
			if set.Scope != "im:credential" || !slices.Equal(set.Audience, []string{s.issuer}) || set.Device == "" || set.Handle != "" {
				t.Errorf("token = %+v, want one for the issuer alone, with the device and without the handle", set)
			}
		}
	}
	// An app that does other things gets what it asks for, and a token for credentials by a refresh.
	held := s.inWallet(t, phone, "alice")
	if !slices.Equal(held.set.Audience, []string{"im:example.com"}) {
		t.Errorf("audience = %q, want the domain", held.set.Audience)
	}
	form := refreshForm(held.refresh)
	form.Set("scope", "im:credential")
	if set := wantTokens(t, s.token(t, wallet, phone, form)).set; !slices.Equal(set.Audience, []string{s.issuer}) || set.Device == "" {
		t.Errorf("token = %+v, want one for the issuer alone, with the device", set)
	}
	// Others are not told of the device.
	form["resource"] = []string{s.issuer, "im:example.com"}
	if set := wantTokens(t, s.token(t, wallet, phone, form)).set; set.Device != "" {
		t.Errorf("token that others see = %+v, want no device without the scope im:device", set)
	}
	// A client gets the scope if it is registered for it.
	to := s.signIn(t, "alice", url.Values{"scope": {"im:handle im:credential"}})
	if to.Get("error") != "invalid_scope" {
		t.Errorf("authorization answer = %v, want invalid_scope", to)
	}
}

// TestCredentialActor holds that a token of an actor never has the scope, whatever the grant or the subject's token says.
func TestCredentialActor(t *testing.T) {
	c := startCast(t)
	phone := newDevice(t)
	own := c.forCredentials(t, phone, c.inWallet(t, phone, "alice"))
	set := claimsOf(t, own)
	set.MayAct = &claims.Actor{Subject: c.bob.set.Subject}
	set.Scope, set.JTI = "im:handle im:credential", set.JTI+"m"
	let := c.signs(t, set)
	bobs := newDevice(t)
	his := c.inWallet(t, bobs, "bob")
	a := c.token(t, wallet, bobs, exchanging(let, typeAccess, his.access, nil))
	if a.status != http.StatusOK || a.text("scope") != "im:handle" {
		t.Errorf("exchange = %v, want a token without the scope for credentials", a)
	}
	a = c.token(t, wallet, bobs, exchanging(let, typeAccess, his.access, url.Values{"scope": {"im:credential"}}))
	wantError(t, a, http.StatusBadRequest, "invalid_scope")
	// Without an actor, a token for the same key is made of another one, and keeps the device.
	narrow := issued(t, c.token(t, wallet, phone, exchanging(own, typeAccess, "", nil)))
	if set := claimsOf(t, narrow); set.Scope != "im:credential" || set.Device == "" || set.SID != claimsOf(t, own).SID {
		t.Errorf("narrower token = %+v, want the scope and the device", set)
	}
}
