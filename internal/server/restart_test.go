package server_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// TestRestart holds that another process with the same data goes on where the one before it stopped: what was given is
// good, what was ended is not, and nothing can be spent twice.
func TestRestart(t *testing.T) {
	s := start(t, nil)
	d, removed, other := newDevice(t), newDevice(t), newDevice(t)
	held, gone, revoked := s.login(t, d, "alice"), s.login(t, removed, "alice"), s.login(t, other, "alice")
	s.remove(t, gone.set.Device)
	s.revokeBy(t, app, other, revoked.access)
	spent := s.code(t, "alice", nil)
	wantTokens(t, s.token(t, app, d, codeForm(spent, nil)))
	code, v := s.code(t, "alice", nil), s.visit(t, "bob", nil)
	keys, nonce := s.get(t, "/jwks").body, s.nonce(t)
	service := url.Values{"grant_type": {"client_credentials"}}
	header := http.Header{"Dpop": {s.proof(t, d, nonce)}}
	peer.authenticate(service, header)
	if a := s.post(t, "/token", service, header); a.status != http.StatusOK {
		t.Fatalf("answer = %v, want a token", a)
	}

	s.restart(t, nil)

	if now := s.get(t, "/jwks").body; now != keys {
		t.Errorf("keys = %s, want those of before, %s", now, keys)
	}
	a := s.post(t, "/token", service, header)
	wantError(t, a, http.StatusBadRequest, "use_dpop_nonce") // its spending is forgotten, so its nonce is no good
	if a.header.Get("DPoP-Nonce") == nonce {
		t.Error("DPoP-Nonce is that of before, want another")
	}
	s.wantEnded(t, removed, gone)
	s.wantInactive(t, revoked.access)
	wantError(t, s.token(t, app, d, codeForm(spent, nil)), http.StatusBadRequest, "invalid_grant")
	wantTokens(t, s.token(t, app, newDevice(t), codeForm(code, nil)))
	s.wantCode(t, s.open(t, v.browser, v.callback))
	s.wantAlive(t, d, held)
}

// TestNewTables holds that the keys by which names collide are made anew by the first start of a release whose tables are other
// ones, before anybody can take a name that looks like one of them.
func TestNewTables(t *testing.T) {
	s := start(t, nil)
	s.login(t, newDevice(t), "alice")
	before := s.rows(t)
	id, err := claims.Parse("im:%40alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.store.Name(t.Context(), "example.com", claims.CollisionKey(id))
	if err != nil {
		t.Fatal(err)
	}
	n.Tables = "of a release before"
	if err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.RenameKey(ctx, n, "alice!") }); err != nil {
		t.Fatal(err)
	}
	s.restart(t, nil)
	if changes := sqlitetest.Changes(before, s.rows(t)); slices.ContainsFunc(changes, func(row string) bool { return strings.Contains(row, "names") }) {
		t.Errorf("rows changed:\n%s\nwant the names as they were", strings.Join(changes, "\n"))
	}
	if !s.witness.said("the collision keys of names were renewed") {
		t.Error("the log does not tell of it")
	}
}

// TestSettingsChange holds that a session is never good for more than its client is registered for now.
func TestSettingsChange(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	both := url.Values{"resource": {"https://rooms.example.com", "https://files.example.com"}}
	held := wantTokens(t, s.token(t, app, d, codeForm(s.code(t, "alice", both), nil)))
	code, v := s.code(t, "alice", both), s.visit(t, "alice", url.Values{"scope": {"im:handle im:device"}})

	s.restart(t, map[string]string{"scopes": `["im:handle"]`, "resources": `["https://files.example.com"]`})
	fewer := refreshForm(held.refresh)
	fewer.Set("scope", "im:handle")
	wantError(t, s.token(t, app, d, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_scope")
	wantError(t, s.token(t, app, d, fewer), http.StatusBadRequest, "invalid_target")
	wantError(t, s.token(t, app, newDevice(t), codeForm(code, nil)), http.StatusBadRequest, "invalid_scope")
	s.wantRedirect(t, s.open(t, v.browser, v.callback), redirectURI, appState, "invalid_scope")
	fewer.Set("resource", "https://files.example.com")
	if next := wantTokens(t, s.token(t, app, d, fewer)); next.set.Device != "" || !slices.Equal(next.set.Audience, fewer["resource"]) {
		t.Errorf("token with device %q for %q, want none for what is left", next.set.Device, next.set.Audience)
	}

	s.restart(t, map[string]string{"scopes": bothScopes, "resources": bothResources})
	s.wantAlive(t, d, held)
}
