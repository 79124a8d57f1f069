package oauth_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// active reports whether the issuer takes an access token of its own.
func (i *issuer) active(t *testing.T, token string) bool {
	t.Helper()
	_, err := i.made.OpenToken(t.Context(), token)
	if err != nil && !errors.Is(err, statements.ErrInactive) {
		t.Fatal(err)
	}
	return err == nil
}

// TestRevoke holds what a revocation ends, and that one which finds nothing to end is no error.
func TestRevoke(t *testing.T) {
	i, phone, machine := newIssuer(t, true), newDevice(t), newDevice(t)
	alice := i.user(t, "alice")
	held := i.login(t, alice, phone)
	narrow := i.token(t, "app", phone, exchangeForm(held.AccessToken, accessToken, "")).AccessToken
	service := i.token(t, "service", machine, serviceForm).AccessToken
	bearer := i.token(t, "bearer", nil, serviceForm).AccessToken
	revoke := func(client, token string) {
		t.Helper()
		before := sqlitetest.Rows(t, i.path)
		if err := i.Revoke(t.Context(), i.request(t, client, nil, url.Values{"token": {token}})); err != nil {
			t.Errorf("Revoke = %v", err)
		}
		if client == "short" || client == "wide" {
			if changes := sqlitetest.Changes(before, sqlitetest.Rows(t, i.path)); len(changes) > 0 {
				t.Errorf("rows changed: %v", changes)
			}
		}
	}
	for _, token := range []string{"unknown", held.RefreshToken, held.AccessToken, service, held.RefreshToken[:20], held.AccessToken + "x"} {
		revoke("short", token) // that are not its own
		revoke("wide", token)
	}
	if !i.active(t, held.AccessToken) || !i.active(t, service) {
		t.Fatal("a client revoked the tokens of another")
	}
	if err := i.Revoke(t.Context(), i.revocation(t, "app", phone, narrow)); err != nil {
		t.Fatal(err)
	}
	revoke("service", service)
	revoke("bearer", bearer)
	if i.active(t, narrow) || i.active(t, service) || i.active(t, bearer) || !i.active(t, held.AccessToken) {
		t.Error("a revocation of a token ended another one, or none")
	}
	revoke("app", held.RefreshToken)
	revoke("app", held.RefreshToken)
	if i.active(t, held.AccessToken) {
		t.Error("the revocation of a refresh token did not end the session")
	}
	i.advance(t, time.Hour)
	revoke("app", held.AccessToken) // it has expired, so that no proof is asked for
}

// TestRevokeRefused holds every refusal of a revocation. The token stays active.
func TestRevokeRefused(t *testing.T) {
	wrong := refusal{code: "invalid_client", description: "The client is unknown or its credentials are wrong."}
	for name, test := range map[string]struct {
		change func(t *testing.T, i *issuer, phone *device, r *http.Header, form url.Values)
		want   refusal
	}{
		"unknown client": {func(_ *testing.T, _ *issuer, _ *device, _ *http.Header, form url.Values) {
			form.Set("client_id", "nobody")
		}, wrong},
		"no client": {func(_ *testing.T, _ *issuer, _ *device, _ *http.Header, form url.Values) { form.Del("client_id") },
			refusal{code: "invalid_client", description: "The request names no client"}},
		"no token": {func(_ *testing.T, _ *issuer, _ *device, _ *http.Header, form url.Values) { form.Del("token") },
			refusal{code: "invalid_request", description: "The parameter token is missing."}},
		"no proof": {func(_ *testing.T, _ *issuer, _ *device, h *http.Header, _ url.Values) { h.Del("DPoP") },
			refusal{err: dpop.ErrNoProof}},
		"a proof by another key": {func(t *testing.T, i *issuer, _ *device, h *http.Header, _ url.Values) {
			*h = i.proofFor(t, newDevice(t), "/revoke")
		}, refusal{code: "invalid_request",
			description: "The access token is bound to another key: send a proof by the key that it was issued for."}},
		"a proof for another endpoint": {func(t *testing.T, i *issuer, d *device, h *http.Header, _ url.Values) {
			*h = i.proofFor(t, d, "/token")
		}, refusal{err: dpop.ErrInvalidProof}},
		"another signature": {func(_ *testing.T, _ *issuer, _ *device, h *http.Header, _ url.Values) {
			p := h.Get("DPoP")
			h.Set("DPoP", p[:len(p)-8]+"AAAAAAAA")
		}, refusal{err: dpop.ErrInvalidProof}},
		"a proof that was used": {func(t *testing.T, i *issuer, d *device, h *http.Header, form url.Values) {
			other := i.login(t, i.user(t, "alice"), d).AccessToken
			r := i.request(t, "app", nil, with(form, url.Values{"token": {other}}))
			r.Header = *h
			if err := i.Revoke(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}, refusal{err: dpop.ErrReplayed}},
	} {
		t.Run(name, func(t *testing.T) {
			i, phone := newIssuer(t, true), newDevice(t)
			token := i.login(t, i.user(t, "alice"), phone).AccessToken
			r := i.revocation(t, "app", phone, token)
			test.change(t, i, phone, &r.Header, r.Form)
			before := sqlitetest.Rows(t, i.path)
			test.want.check(t, i.Revoke(t.Context(), r))
			if changes := sqlitetest.Changes(before, sqlitetest.Rows(t, i.path)); len(changes) > 0 {
				t.Errorf("the refusal changed rows: %v", changes)
			}
			if !i.active(t, token) {
				t.Error("the token is not active any more")
			}
		})
	}
}

// TestRevokeUnderNewKey holds that a node ends a token that another node signed with a key which it made just before. The node that is
// asked does not know the key yet. If it cannot learn of it, it does not say that the token is revoked.
func TestRevokeUnderNewKey(t *testing.T) {
	i, phone := newIssuer(t, true), newDevice(t)
	held := i.login(t, i.user(t, "alice"), phone)
	other, err := keys.OpenRing(t.Context(), i.store, keys.NewSealer([32]byte{1}), keys.RingConfig{Now: i.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Rotate(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	set := claimsOf(t, held.AccessToken)
	set.JTI = "under the new key"
	token, err := other.Sign(jose.TypeAccessToken, set.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	i.faults.set(func(op string) error {
		if op == "SigningKeys" {
			return errFire
		}
		return nil
	})
	if err := i.Revoke(t.Context(), i.revocation(t, "app", phone, token)); !errors.Is(err, errFire) {
		t.Errorf("Revoke during an outage = %v, want %v", err, errFire)
	}
	i.faults.set(nil)
	if err := i.Revoke(t.Context(), i.revocation(t, "app", phone, token)); err != nil {
		t.Fatalf("Revoke = %v", err)
	}
	if _, err := i.store.Revocation(t.Context(), storage.RevokeToken, set.JTI); err != nil {
		t.Errorf("Revocation = %v, want the one that was acknowledged", err)
	}
	if i.active(t, token) {
		t.Error("the token is active after its revocation")
	}
}

// TestRevokeEndedElsewhere holds that a node which answers that a session has ended knows that its tokens are revoked, though another node
// revoked them and this one has not read it yet. If it cannot read it, it does not answer so.
func TestRevokeEndedElsewhere(t *testing.T) {
	i, phone := newIssuer(t, true), newDevice(t)
	held := i.login(t, i.user(t, "alice"), phone)
	set := claimsOf(t, held.AccessToken)
	mirror := revocation.NewMirror(revocation.Config{Source: i.store, Now: i.clock.now})
	if err := mirror.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	node, err := oauth.New(oauth.Config{
		Issuer: issuerURL, Domains: []oauth.Domain{{Name: "example.com", Providers: []string{"login"}}}, Clients: i.registry,
		Statements: i.made, Store: audit.New(slog.New(slog.DiscardHandler)).Store(i.store, audit.Chain{Node: "other", Now: i.clock.now}),
		Accounts: i.accounts, Keys: i.ring, Proofs: i.proofs, Development: true, RefreshKey: [32]byte{3},
		Lifetimes: oauth.Lifetimes{
			Access: 10 * time.Minute, Code: time.Minute, RefreshIdle: 24 * time.Hour, RefreshMax: 72 * time.Hour,
		},
		Revoked: mirror.Apply, CatchUp: mirror.Read, Now: i.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	known := func() bool {
		t.Helper()
		reason, err := mirror.Revoked(t.Context(), introspect.Token{JTI: set.JTI, SID: set.SID, Domain: "example.com"})
		if err != nil {
			t.Fatal(err)
		}
		return reason != ""
	}
	form := url.Values{"token": {held.RefreshToken}}
	if err := i.Revoke(t.Context(), i.request(t, "app", nil, form)); err != nil {
		t.Fatal(err)
	}
	if known() {
		t.Fatal("the node knows a revocation that it has not read")
	}
	i.faults.set(func(op string) error {
		if op == "Revocations" {
			return errFire
		}
		return nil
	})
	if err := node.Revoke(t.Context(), i.request(t, "app", nil, form)); !errors.Is(err, errFire) {
		t.Errorf("Revoke that cannot read the revocations = %v, want %v", err, errFire)
	}
	i.faults.set(nil)
	if err := node.Revoke(t.Context(), i.request(t, "other", nil, form)); err != nil || known() {
		t.Errorf("Revoke by another client = %v; it made the node read the revocations: %v", err, known())
	}
	if err := node.Revoke(t.Context(), i.request(t, "app", nil, form)); err != nil {
		t.Fatal(err)
	}
	if !known() {
		t.Error("the node acknowledged the end of a session whose tokens it takes for active")
	}
}
