package server_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
)

// TestReviewB7RevokeNeedsKey holds that an access token of a public client is revoked only with a proof by its key: everybody
// who is shown the token knows its client_id.
func TestReviewB7RevokeNeedsKey(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")

	t.Run("without a proof", func(t *testing.T) {
		wantError(t, s.revoke(t, app, held.access), http.StatusBadRequest, "invalid_dpop_proof")
		s.wantActive(t, held.access)
	})
	t.Run("another key", func(t *testing.T) {
		wantError(t, s.revokeBy(t, app, newDevice(t), held.access), http.StatusBadRequest, "invalid_request")
		s.wantActive(t, held.access)
	})
	t.Run("a proof for another endpoint", func(t *testing.T) {
		form := url.Values{"client_id": {app.id}, "token": {held.access}}
		a := s.post(t, "/revoke", form, http.Header{"Dpop": {s.proof(t, d, "")}})
		wantError(t, a, http.StatusBadRequest, "invalid_dpop_proof")
		s.wantActive(t, held.access)
	})
	t.Run("a proof without a nonce", func(t *testing.T) {
		proof, err := d.Proof(dpop.ProofParams{Method: http.MethodPost, URL: s.issuer + "/revoke", IssuedAt: s.clock.now()})
		if err != nil {
			t.Fatal(err)
		}
		a := s.post(t, "/revoke", url.Values{"client_id": {app.id}, "token": {held.access}}, http.Header{"Dpop": {proof}})
		wantError(t, a, http.StatusBadRequest, "use_dpop_nonce")
		if a.header.Get("DPoP-Nonce") == "" {
			t.Error("the refusal names no nonce")
		}
		s.wantActive(t, held.access)
	})
	t.Run("another client's", func(t *testing.T) { // it is not revoked, and no more is said than of an unknown token
		wantStatus(t, s.revoke(t, otherApp, held.access), http.StatusOK)
		wantStatus(t, s.revokeBy(t, otherApp, d, held.access), http.StatusOK)
		s.wantActive(t, held.access)
	})
	t.Run("proof used twice", func(t *testing.T) {
		next := s.refreshed(t, d, held.refresh)
		proof, err := d.Proof(dpop.ProofParams{Method: http.MethodPost, URL: s.issuer + "/revoke", Nonce: s.nonce(t), IssuedAt: s.clock.now()})
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{"Dpop": {proof}}
		wantStatus(t, s.post(t, "/revoke", url.Values{"client_id": {app.id}, "token": {held.access}}, header), http.StatusOK)
		s.wantInactive(t, held.access)
		wantError(t, s.post(t, "/revoke", url.Values{"client_id": {app.id}, "token": {next.access}}, header), http.StatusBadRequest, "invalid_dpop_proof")
		s.wantActive(t, next.access)
		held = next
	})
	t.Run("exchanged token", func(t *testing.T) {
		d := newDevice(t)
		alice := s.account(t, d, "alice")
		narrow := issued(t, s.token(t, accounts, d, exchanging(alice.access, typeAccess, "", nil)))
		wantError(t, s.revoke(t, accounts, narrow), http.StatusBadRequest, "invalid_dpop_proof")
		s.wantActive(t, narrow)
		wantStatus(t, s.revokeBy(t, accounts, d, narrow), http.StatusOK)
		s.wantInactive(t, narrow)
		s.wantActive(t, alice.access)
	})
	t.Run("by a client that answers nonces", func(t *testing.T) {
		c := &client.Client{
			Server: client.Metadata{RevocationEndpoint: s.issuer + "/revoke"}, ID: app.id,
			HTTP: &http.Client{Transport: &dpop.Transport{Signer: d.Signer, Base: s.http.Transport, Now: s.clock.now}},
		}
		if err := c.Revoke(t.Context(), held.access); err != nil {
			t.Fatal(err)
		}
		s.wantInactive(t, held.access)
	})
	t.Run("refresh token", func(t *testing.T) { // it is shown to nobody
		next := s.refreshed(t, d, held.refresh)
		wantStatus(t, s.revoke(t, app, next.refresh), http.StatusOK)
		s.wantEnded(t, d, next)
	})
	t.Run("confidential client", func(t *testing.T) {
		d := newDevice(t)
		token := s.token(t, deskApp, d, codeForm(s.code(t, "alice", url.Values{"client_id": {deskApp.id}}), nil)).text("access_token")
		s.wantActive(t, token)
		wantStatus(t, s.revoke(t, deskApp, token), http.StatusOK)
		s.wantInactive(t, token)
	})
}
