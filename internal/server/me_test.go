package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop/dpoptest"
	"github.com/imidentity/issuer/nested"
)

// TestOwnAcceptance holds the server, where it is a resource of its own, to the acceptance list of RFC 9449.
func TestOwnAcceptance(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	alice := s.account(t, d, "alice")
	own := s.forIssuer(t, d, alice, "account").access
	dpoptest.Run(t, dpoptest.Endpoint{
		Method: http.MethodGet, URL: s.issuer + "/me/actors", Key: d.key, AccessToken: own, Nonces: true,
		Refused: http.StatusUnauthorized, OtherKey: "invalid_token", Client: s.http, Now: s.clock.now,
		Request: func(t *testing.T) *http.Request {
			req := s.request(t, http.MethodGet, "/me/actors", "")
			req.Header.Set("Authorization", "DPoP "+own)
			return req
		},
	})
}

// TestNotHers holds that only a person herself, by a session that is alive and a token for the issuer alone, is let to her
// account.
func TestNotHers(t *testing.T) {
	c := startCast(t)
	own := c.forIssuer(t, c.phone, c.alice, "account").access
	claimed := func(change func(set *claims.Set)) string {
		set := claimsOf(t, own)
		set.JTI += "x"
		change(&set)
		return c.signs(t, set)
	}
	with := func(resource ...string) string {
		form := refreshForm(c.alice.refresh)
		form["resource"] = resource
		form.Set("scope", "account")
		return wantTokens(t, c.token(t, accounts, c.phone, form)).access
	}
	gone, out := newDevice(t), newDevice(t)
	removed, left := c.account(t, gone, "alice"), c.account(t, out, "alice")
	goneToken, outToken := c.forIssuer(t, gone, removed, "account").access, c.forIssuer(t, out, left, "account").access
	c.remove(t, removed.set.Device)
	wantStatus(t, c.revoke(t, accounts, left.refresh), http.StatusOK)
	revoked := c.forIssuer(t, c.phone, c.alice, "account").access
	wantStatus(t, c.revokeBy(t, accounts, c.phone, revoked), http.StatusOK)

	for _, test := range []struct {
		name   string
		d      *device
		token  string
		status int
		code   string
	}{
		{"herself", c.phone, own, 200, ""},
		{"a token for her domain", c.phone, c.alice.access, 401, "invalid_token"},
		{"a token for the issuer and others", c.phone, with(c.issuer, "im:example.com"), 401, "invalid_token"},
		{"a token for the issuer in other letters", c.phone, claimed(func(set *claims.Set) { set.Audience = []string{c.issuer + "/"} }), 401, "invalid_token"},
		{"without the scope", c.phone, c.forIssuer(t, c.phone, c.alice, "introspect").access, 403, "insufficient_scope"},
		{"of a service", c.machine, claimed(func(set *claims.Set) {
			*set = claims.Set{
				Issuer: set.Issuer, Subject: bot.id, ClientID: bot.id, Audience: set.Audience, Scope: set.Scope, JTI: "service",
				IssuedAt: set.IssuedAt, Expires: set.Expires, JKT: c.machine.JKT(),
			}
		}), 403, "access_denied"},
		{"of who acts for her", c.phone, claimed(func(set *claims.Set) { set.Actor = &claims.Actor{Subject: bot.id, Issuer: c.issuer, ClientID: bot.id} }), 403, "access_denied"},
		{"of another issuer", c.phone, c.vouch.vouches(t, c.phone.JKT(), c.issuer, func(set *claims.Set) { set.Scope = "account" }), 401, "invalid_token"},
		{"a statement", c.phone, c.member(t, nil).token, 401, "invalid_token"},
		{"a refresh token", c.phone, c.alice.refresh, 401, "invalid_token"},
		{"of a removed device", gone, goneToken, 401, "invalid_token"},
		{"of a session that is over", out, outToken, 401, "invalid_token"},
		{"that was revoked", c.phone, revoked, 401, "invalid_token"},
		{"of a session that never was", c.phone, claimed(func(set *claims.Set) { set.SID = "none" }), 403, "access_denied"},
		{"of a session of somebody else's", c.phone, claimed(func(set *claims.Set) { set.SID = c.bob.set.SID }), 403, "access_denied"},
		{"with Bob's key", c.bobs, own, 401, "invalid_token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			id, _ := c.made(t, c.phone, c.alice, "links", object{"same_as": oldAlice})
			before := c.rows(t)
			for _, ask := range []struct {
				method, path string
				body         any
				good         int
			}{
				{http.MethodGet, "/me/actors", nil, 200},
				{http.MethodPost, "/me/links", object{"same_as": oldAlice}, 201},
				{http.MethodDelete, "/me/links/" + id, nil, 204},
			} {
				a := c.held(t, test.d, test.token, ask.method, ask.path, ask.body)
				switch {
				case test.code == "" && a.status != ask.good:
					t.Errorf("%s %s = %v, want %d", ask.method, ask.path, a, ask.good)
				case test.code == "access_denied" && ask.method == http.MethodGet && a.status == 200:
					// A list is told by the token alone, which the introspector found good.
				case test.code != "":
					wantRefused(t, a, test.status, test.code)
				}
			}
			if changes := c.rows(t); test.code != "" && !slices.Equal(before, changes) {
				t.Error("rows changed")
			}
		})
	}
	t.Run("without a token", func(t *testing.T) {
		a := c.get(t, "/me/actors")
		challenge := a.header.Get("WWW-Authenticate")
		if a.status != http.StatusUnauthorized || !strings.HasPrefix(challenge, "DPoP algs=") || strings.Contains(challenge, "error") {
			t.Errorf("answer = %v with %q, want 401 DPoP without an error", a, challenge)
		}
		if len(a.json) != 1 || !strings.Contains(fmt.Sprint(a.json["error_description"]), "no access token") {
			t.Errorf("answer = %v, want a description alone", a)
		}
	})
	t.Run("as a bearer", func(t *testing.T) {
		req := c.request(t, http.MethodGet, "/me/actors", "")
		req.Header.Set("Authorization", "Bearer "+own)
		wantRefused(t, c.send(t, c.http, req), http.StatusUnauthorized, "invalid_token")
	})
	t.Run("by a client's secret", func(t *testing.T) {
		req := c.request(t, http.MethodGet, "/me/actors", "")
		req.Header.Set("Authorization", basic(bot.id, url.QueryEscape(bot.secret)))
		if a := c.send(t, c.http, req); a.status != http.StatusUnauthorized {
			t.Errorf("answer = %v, want 401", a)
		}
	})
	t.Run("shut out", func(t *testing.T) {
		bobs := c.forIssuer(t, c.bobs, c.bob, "account").access
		wantStatus(t, c.disable(t, "@bob"), http.StatusOK)
		wantRefused(t, c.held(t, c.bobs, bobs, http.MethodGet, "/me/actors", nil), http.StatusUnauthorized, "invalid_token")
	})
}

// TestHerStatements makes, lists and withdraws statements: each person's are her own.
func TestHerStatements(t *testing.T) {
	c := startCast(t)
	key := newKey(t)
	actor := object{"actor": bot.id, "actor_iss": c.issuer, "scope": []string{"im:handle", "introspect"}, "audience": []string{"im:example.com", c.issuer}, "expires_in": 600}
	made := map[string]string{}
	own, bobs := c.forIssuer(t, c.phone, c.alice, "account").access, c.forIssuer(t, c.bobs, c.bob, "account").access
	for kind, body := range map[string]object{"actors": actor, "delegations": delegating(t, key), "links": {"same_as": oldAlice}} {
		a := c.held(t, c.phone, own, http.MethodPost, "/me/"+kind, body)
		if a.status != http.StatusCreated {
			t.Fatalf("POST /me/%s = %v, want 201", kind, a)
		}
		made[kind] = a.text("id")
		var claims object
		decode(t, payloadOf(t, a.text("token")), &claims)
		if claims["iss"] != c.issuer || claims["sub"] != c.alice.set.Subject || claims["jti"] != a.text("id") ||
			(claims["handle"] == c.alice.set.Handle) != (kind == "actors") {
			t.Errorf("POST /me/%s signed %v, want the issuer's, about Alice", kind, claims)
		}
		life := claims["exp"].(float64) - claims["iat"].(float64)
		if want := map[string]float64{"actors": 600}[kind]; want != 0 && life != want || want == 0 && life != (90*24*time.Hour).Seconds() {
			t.Errorf("POST /me/%s signed for %v s", kind, life)
		}
		if kind == "actors" && (claims["scope"] != "im:handle introspect" || len(claims["aud"].([]any)) != 2) {
			t.Errorf("POST /me/actors signed %v, want the scope and the audience that were asked for", claims)
		}
		if kind == "links" { // who may embed it: here, and where the other half is from
			aud, _ := claims["aud"].([]any)
			if len(aud) != 3 || !slices.Contains(aud, any("im:old.example")) || !slices.Contains(aud, any(c.issuer)) {
				t.Errorf("POST /me/links signed for %v", aud)
			}
		}
	}
	list := func(d *device, token, kind string) (ids []string) {
		a := c.held(t, d, token, http.MethodGet, "/me/"+kind, nil)
		var all []object
		decode(t, []byte(a.body), &all)
		for _, s := range all {
			if s["token"] != nil {
				t.Errorf("GET /me/%s shows a token", kind)
			}
			ids = append(ids, s["id"].(string))
		}
		return ids
	}
	for kind, id := range made {
		if ids := list(c.phone, own, kind); !slices.Equal(ids, []string{id}) {
			t.Errorf("GET /me/%s = %v, want %s", kind, ids, id)
		}
		if ids := list(c.bobs, bobs, kind); len(ids) != 0 {
			t.Errorf("GET /me/%s = %v for Bob, want none", kind, ids)
		}
		other := map[string]string{"actors": "links", "links": "delegations", "delegations": "actors"}[kind]
		for what, ask := range map[string]answer{
			"by Bob":            c.held(t, c.bobs, bobs, http.MethodDelete, "/me/"+kind+"/"+id, nil),
			"as another kind":   c.held(t, c.phone, own, http.MethodDelete, "/me/"+other+"/"+id, nil),
			"of another domain": c.operate(t, http.MethodDelete, "/admin/statements/"+id, url.Values{"domain": {"example.org"}}),
		} {
			if ask.status != http.StatusNotFound {
				t.Errorf("withdrawal %s = %v, want 404", what, ask)
			}
		}
		if ids := list(c.phone, own, kind); len(ids) != 1 {
			t.Errorf("GET /me/%s = %v afterwards, want it still", kind, ids)
		}
		for i, want := range []int{http.StatusNoContent, http.StatusNotFound} {
			if a := c.held(t, c.phone, own, http.MethodDelete, "/me/"+kind+"/"+id, nil); a.status != want {
				t.Errorf("withdrawal %d = %v, want %d", i+1, a, want)
			}
		}
		if ids := list(c.phone, own, kind); len(ids) != 0 {
			t.Errorf("GET /me/%s = %v at last, want none", kind, ids)
		}
	}
	wantStatus(t, c.held(t, c.phone, own, http.MethodDelete, "/me/actors/none", nil), http.StatusNotFound)
}

// TestStatementRefused holds what a person or an operator may have signed.
func TestStatementRefused(t *testing.T) {
	c := startCast(t)
	key := newKey(t)
	own := c.forIssuer(t, c.phone, c.alice, "account").access
	limits := func(name string, value any) string {
		body := delegating(t, key)
		body[name] = value
		if value == nil {
			delete(body, name)
		}
		return string(encode(body))
	}
	const admin = "admin"
	person := func(typ, rest string) string {
		return `{"typ":"` + typ + `","sub":"` + c.alice.set.Subject + `"` + rest + `}`
	}
	for _, test := range []struct {
		name, kind, body string
		code             string
	}{
		{"no JSON", "actors", `actor=bot`, "invalid_request"},
		{"nothing", "actors", ``, "invalid_request"},
		{"an array", "actors", `[]`, "invalid_request"},
		{"a member twice", "actors", `{"actor":"im:a@old.example","actor":"im:b@old.example","scope":"im:handle"}`, "invalid_request"},
		{"a member that nobody knows", "actors", `{"actor":"im:a@old.example","scope":"im:handle","expires":1}`, "invalid_request"},
		{"nobody", "actors", `{"scope":"im:handle"}`, "invalid_request"},
		{"nothing to do", "actors", `{"actor":"im:a@old.example"}`, "invalid_request"},
		{"a scope of her own", "actors", `{"actor":"im:a@old.example","scope":"im:handle account"}`, "invalid_scope"},
		{"her device", "actors", `{"actor":"im:a@old.example","scope":"im:device"}`, "invalid_scope"},
		{"reasons", "actors", `{"actor":"im:a@old.example","scope":"introspect:reason"}`, "invalid_scope"},
		{"a client of no issuer", "actors", `{"actor":"bot","scope":"im:handle"}`, "invalid_request"},
		{"herself", "actors", `{"actor":"` + c.alice.set.Subject + `","scope":"im:handle"}`, "invalid_request"},
		{"an actor that is no text", "actors", `{"actor":["im:a@old.example"],"scope":"im:handle"}`, "invalid_request"},
		{"no time", "actors", `{"actor":"im:a@old.example","scope":"im:handle","expires_in":0}`, "invalid_request"},
		{"time to come", "actors", `{"actor":"im:a@old.example","scope":"im:handle","expires_in":-1}`, "invalid_request"},
		{"half a second", "actors", `{"actor":"im:a@old.example","scope":"im:handle","expires_in":0.5}`, "invalid_request"},
		{"for nobody", "actors", `{"actor":"im:a@old.example","scope":"im:handle","audience":[""]}`, "invalid_request"},
		{"oversized", "actors", `{"actor":"` + strings.Repeat("a", 1<<17) + `"}`, "invalid_request"},
		{"no key", "delegations", limits("jkt", nil), "invalid_request"},
		{"a key that is none", "delegations", limits("jkt", "key"), "invalid_request"},
		{"no pattern", "delegations", limits("devices", nil), "invalid_request"},
		{"a pattern with a star inside", "delegations", limits("devices", "a*b"), "invalid_request"},
		{"no count", "delegations", limits("count", nil), "invalid_request"},
		{"a count of none", "delegations", limits("count", 0), "invalid_request"},
		{"a count without end", "delegations", limits("count", 1e10), "invalid_request"},
		{"no lifetime", "delegations", limits("lifetime", nil), "invalid_request"},
		{"no depth", "delegations", limits("depth", nil), "invalid_request"},
		{"statements that no user's key can sign", "delegations", limits("statements", []string{nested.TypeMove}), "invalid_request"},
		{"a limit that nobody knows", "delegations", limits("colour", "red"), "invalid_request"},
		{"with nobody", "links", `{}`, "invalid_request"},
		{"with what is nobody", "links", `{"same_as":"alice"}`, "invalid_request"},
		{"with herself", "links", `{"same_as":"` + c.alice.set.Subject + `"}`, "invalid_request"},
		{"no type", admin, `{"sub":"` + c.alice.set.Subject + `"}`, "invalid_request"},
		{"a type of people's", admin, person(nested.TypeActor, `,"actor":"im:a@old.example","scope":"im:handle"`), "invalid_request"},
		{"a type of keys'", admin, person(nested.TypeDevice, ``), "invalid_request"},
		{"an access token", admin, person(nested.TypeAccessToken, ``), "invalid_request"},
		{"about nobody", admin, `{"typ":"` + nested.TypeMove + `","moved_to":"` + oldAlice + `"}`, "invalid_request"},
		{"about somebody unknown", admin, `{"typ":"` + nested.TypeMove + `","sub":"im:n0b0dy@example.com;id-type=user","moved_to":"` + oldAlice + `"}`, "invalid_request"},
		{"about somebody abroad", admin, `{"typ":"` + nested.TypeMove + `","sub":"` + oldAlice + `","moved_to":"` + c.alice.set.Subject + `"}`, "invalid_request"},
		{"a team abroad", admin, `{"typ":"` + nested.TypeMember + `","sub":"` + aTeam + `","member":"` + c.alice.set.Subject + `"}`, "invalid_request"},
		{"a team without members", admin, `{"typ":"` + nested.TypeMember + `","sub":"im:wxyz=%23%23a@example.com"}`, "invalid_request"},
		{"a handle that she never had", admin, person(nested.TypeRename, `,"old_handle":"im:%40alex@example.com"`), "invalid_request"},
		{"the handle that she has", admin, person(nested.TypeRename, `,"old_handle":"`+c.alice.set.Handle+`"`), "invalid_request"},
		{"the handle that Bob has", admin, person(nested.TypeRename, `,"old_handle":"`+c.bob.set.Handle+`"`), "invalid_request"},
		{"a handle abroad", admin, person(nested.TypeRename, `,"old_handle":"im:%40alex@old.example"`), "invalid_request"},
		{"a guardian that is nobody", admin, person(nested.TypeGuardian, `,"guardian":"mother"`), "invalid_request"},
		{"her own guardian", admin, person(nested.TypeGuardian, `,"guardian":"`+c.alice.set.Subject+`"`), "invalid_request"},
		{"a member of another type", admin, person(nested.TypeGuardian, `,"guardian":"`+oldAlice+`","role":1`), "invalid_request"},
		{"a member that is another type's", admin, person(nested.TypeGuardian, `,"guardian":"`+oldAlice+`","same_as":"`+oldAlice+`"`), "invalid_request"},
	} {
		t.Run(test.kind+" "+test.name, func(t *testing.T) {
			before := c.rows(t)
			status := http.StatusBadRequest
			if strings.HasPrefix(test.name, "oversized") {
				status = http.StatusRequestEntityTooLarge
			}
			if test.kind == admin {
				req := c.request(t, http.MethodPost, c.admin+"/admin/statements", test.body)
				req.Header.Set("Content-Type", "application/json")
				wantError(t, c.send(t, c.http, req), status, test.code)
			} else {
				wantRefused(t, c.held(t, c.phone, own, http.MethodPost, "/me/"+test.kind, rawBody(test.body)), status, test.code)
			}
			if !slices.Equal(before, c.rows(t)) {
				t.Error("rows changed")
			}
		})
	}
	t.Run("a form", func(t *testing.T) {
		wantRefused(t, c.held(t, c.phone, own, http.MethodPost, "/me/links", url.Values{"same_as": {oldAlice}}), http.StatusBadRequest, "invalid_request")
	})
}

// TestReasons holds who is told why a token is not active: who proves a key with a token that has the scope, and is for the
// issuer alone. A client by its secret is not, whatever it is registered for.
func TestReasons(t *testing.T) {
	c := startCast(t)
	revoked := issued(t, c.token(t, accounts, c.phone, exchanging(c.alice.access, typeAccess, "", nil)))
	wantStatus(t, c.revokeBy(t, accounts, c.phone, revoked), http.StatusOK)
	ask := url.Values{"token": {revoked}}
	d := newDevice(t)
	const all = "introspect introspect:domain introspect:reason"
	if a := c.introspect(t, auditor, revoked); strings.TrimSpace(a.body) != `{"active":false}` {
		t.Errorf("introspection by secret = %v, want no reason", a)
	}
	for name, test := range map[string]struct {
		form   url.Values
		status int
		reason string
	}{
		"with the scope":            {url.Values{"scope": {all}, "resource": {c.issuer}}, 200, "revoked"},
		"without it":                {url.Values{"scope": {"introspect introspect:domain"}, "resource": {c.issuer}}, 200, ""},
		"without the domain's":      {url.Values{"scope": {"introspect introspect:reason"}, "resource": {c.issuer}}, 200, "revoked"}, // the token is for its domain
		"without any that lets ask": {url.Values{"scope": {"introspect:reason"}, "resource": {c.issuer}}, 403, ""},
		"for its domain":            {url.Values{"scope": {all}}, 401, ""},
		"for its domain too":        {url.Values{"scope": {all}, "resource": {c.issuer, "im:example.com"}}, 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := c.held(t, d, c.service(t, auditor, d, test.form), http.MethodPost, "/introspect", ask)
			if a.status != test.status || a.text("reason") != test.reason {
				t.Errorf("introspection = %v, want %d, reason %q", a, test.status, test.reason)
			}
		})
	}
	t.Run("a person", func(t *testing.T) { // sees what is for her domain, and never why not
		own := c.forIssuer(t, c.bobs, c.bob, "introspect").access
		if a := c.held(t, c.bobs, own, http.MethodPost, "/introspect", url.Values{"token": {c.alice.access}}); a.json["active"] != true {
			t.Errorf("introspection = %v, want active", a)
		}
		if a := c.held(t, c.bobs, own, http.MethodPost, "/introspect", ask); strings.TrimSpace(a.body) != `{"active":false}` {
			t.Errorf("introspection = %v, want no reason", a)
		}
		there := c.elsewhere(t, newDevice(t), "generic.example", nil)
		if a := c.held(t, c.bobs, own, http.MethodPost, "/introspect", url.Values{"token": {there.access}}); strings.TrimSpace(a.body) != `{"active":false}` {
			t.Errorf("introspection of a token of another domain = %v, want inactive", a)
		}
		if a := c.held(t, c.bobs, own, http.MethodPost, "/introspect", url.Values{"token": {own}}); a.status != 200 {
			t.Errorf("introspection of itself = %v, want an answer", a)
		}
	})
}
