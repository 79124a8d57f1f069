package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
)

// addManager registers a client of example.com with the scope scim and a bearer token, in storage.
func (s *site) addManager(t *testing.T, id, token string) {
	t.Helper()
	wantStatus(t, s.operateJSON(t, "/admin/clients", object{
		"id": id, "auth": "none", "scopes": []string{"scim"}, "domains": []string{"example.com"}, "scim": object{"token_sha256": []string{tokenHash(token)}},
	}), http.StatusOK)
}

// TestSCIMTokensRefused holds that a bearer token which could be guessed, or which two clients have, manages nobody.
func TestSCIMTokensRefused(t *testing.T) {
	s := start(t, nil)
	short, twice := strings.Repeat("s", 42), strings.Repeat("t", 43)
	s.addManager(t, "short-scim", short)
	s.addManager(t, "one-scim", twice)
	wantStatus(t, s.scim(t, twice, http.MethodGet, "/Users", nil), http.StatusOK)
	s.addManager(t, "two-scim", twice)
	for _, token := range []string{short, twice} {
		wantSCIM(t, s.scim(t, token, http.MethodGet, "/Users", nil), http.StatusUnauthorized, "")
	}
}

// TestSCIMHoldersRefused holds that access tokens with the scope scim are only good if a service has them for itself, and if its client
// still has the scope.
func TestSCIMHoldersRefused(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, newDevice(t), "alice")
	token := s.service(t, managers, d, url.Values{"resource": {s.issuer}})
	signed := func(change func(set *claims.Set)) string {
		set := claimsOf(t, token)
		set.JTI += "x"
		change(&set)
		return s.signs(t, set)
	}
	ask := func(token string) answer { return s.held(t, d, token, http.MethodGet, "/scim/v2/Users", nil) }
	wantStatus(t, ask(signed(func(*claims.Set) {})), http.StatusOK)
	for name, change := range map[string]func(set *claims.Set){
		"a user": func(set *claims.Set) {
			set.Subject, set.SID, set.Gen, set.Handle, set.Device = held.set.Subject, held.set.SID, held.set.Gen, held.set.Handle, held.set.Device
			set.ClientID = app.id
		},
		"for somebody else":           func(set *claims.Set) { set.Actor = &claims.Actor{Subject: "bot", ClientID: "bot"} },
		"a client that has no scopes": func(set *claims.Set) { set.Subject, set.ClientID = "peer", "peer" },
	} {
		if a := ask(signed(change)); a.status != http.StatusForbidden {
			t.Errorf("%s = %v, want 403", name, a)
		}
	}
	s.reload(t, map[string]string{"scim": strings.Replace(scimClients, "scopes: [scim], domains: [example.com], scim: {provider: dev, token_sha256: [\""+
		tokenHash(corpToken)+"\", \""+tokenHash(secondToken)+"\"]}", "scopes: [introspect], domains: [example.com]", 1)})
	wantSCIM(t, ask(token), http.StatusForbidden, "")
}

// TestSCIMRemovedMeanwhile holds that a client which is removed after it has authenticated changes nothing.
func TestSCIMRemovedMeanwhile(t *testing.T) {
	s := start(t, nil)
	token := strings.Repeat("7", 64)
	held := s.login(t, newDevice(t), "alice")
	id := deviceOf(t, held).Local()
	for name, ask := range map[string]func() answer{
		"change": func() answer { return s.scim(t, token, http.MethodPatch, "/Users/"+id, setActive(false)) },
		"delete": func() answer { return s.scim(t, token, http.MethodDelete, "/Users/"+id, nil) },
		"create": func() answer { return s.scim(t, token, http.MethodPost, "/Users", newUser("gina", "g")) },
	} {
		client := name + "-scim"
		s.addManager(t, client, token)
		s.faults.beforeUpdate(func() {
			wantStatus(t, s.operate(t, http.MethodDelete, "/admin/clients", url.Values{"id": {client}}), http.StatusOK)
		})
		if a := ask(); a.status != http.StatusUnauthorized {
			t.Errorf("%s = %v, want 401", name, a)
		}
	}
	s.wantActive(t, held.access)
	if got := s.filtered(t, corpToken, `externalId eq "g"`); got != nil {
		t.Errorf("users = %q, want no new one", got)
	}
}
